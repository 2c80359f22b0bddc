export { Client } from "./client.js";
export { Failure } from "./failure.js";
export type {
  ClientEvents,
  ClientOptions,
  Conversation,
  ConversationPage,
  HistoryPage,
  Message,
  Outgoing,
  State,
  StateChange,
  Stored,
} from "./types.js";
