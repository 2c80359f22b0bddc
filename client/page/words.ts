// Everything the page says, in each language it speaks.

const en = {
  lang: "en",
  conversations: "Conversations",
  skipToConversation: "Skip to the conversation",
  // Signing in.
  signInTitle: "Sign in",
  signInLead: "Paste the token that you were given, or the whole link.",
  token: "Token",
  signIn: "Sign in",
  signOut: "Sign out",
  howToIssue: "To make one for user 1, run",
  noToken: "That holds no token. A token is three parts with dots between them.",
  tokenEnded: "That token has ended. Ask for a new one.",
  signedOut: {
    token_expired: "Your sign-in has ended. Nothing is lost: sign in again and go on.",
    token_revoked: "Your sign-in was withdrawn. Ask for a new token.",
    logout: "You are signed out.",
    other: "You are not signed in any more. Sign in again and go on.",
  },
  // The list.
  noConversations: "No conversations yet",
  noConversationsHint: "Start one with somebody's user number.",
  newConversation: "New conversation",
  userNumber: "User number",
  userNumberWrong: "A user number is a whole number from 1.",
  open: "Open",
  cancel: "Cancel",
  notes: "Notes to yourself",
  system: "System",
  user: (id: number) => `User ${id}`,
  you: (text: string) => `You: ${text}`,
  draft: "Draft:",
  unread: (n: number) => (n === 1 ? "1 unread message" : `${n} unread messages`),
  notify: "Notify me of new messages",
  loadMore: "Load more",
  // A conversation.
  conversation: "Conversation",
  choose: "Choose a conversation",
  chooseHint: "What you write is kept on the server before it is shown as sent.",
  back: "Back to the conversations",
  messagesWith: (name: string) => `Messages with ${name}`,
  nothingYet: "Nothing here yet",
  sayHello: "Write the first message.",
  writeNote: "Write something to remember. All your devices see it.",
  beginning: "The beginning of this conversation",
  loading: "Loading …",
  typing: "typing …",
  newMessages: "New messages",
  toNewest: "To the newest message",
  unreadAbove: (n: number) => (n === 1 ? "1 unread message above" : `${n} unread messages above`),
  markAllRead: "Mark as read",
  readOnly: "Announcements from the service. You cannot answer here.",
  message: "Message",
  messageTo: (name: string) => `Message to ${name}`,
  send: "Send",
  showAll: "Show all",
  showLess: "Show less",
  said: (name: string, text: string) => `${name}: ${text}`,
  newFrom: (name: string) => `New message from ${name}`,
  // What became of a message.
  pending: "Waiting to be sent",
  stored: "Sent",
  read: "Read",
  failed: "Not sent",
  tryAgain: "Try again",
  discard: "Discard",
  failure: {
    timeout: "the server did not answer",
    content_too_large: "it is too long",
    empty_content: "it is empty",
    bad_recipient: "there is no such recipient",
    inbox_full: "the other side's inbox is full",
    rate_limited: "too many messages at once",
    store_unavailable: "the server cannot store messages right now",
    other: "the server refused it",
  },
  // The connection.
  connecting: "Connecting …",
  offline: "You are offline. What you write is sent once you are back.",
  notUnderstood: "This page and the server do not understand each other. Reload the page.",
  loadFailed: "This could not be loaded.",
  today: "Today",
  yesterday: "Yesterday",
};

/** The page's words in one language. */
export type Words = typeof en;

const zh: Words = {
  lang: "zh-CN",
  conversations: "会话",
  skipToConversation: "跳到会话内容",
  signInTitle: "登录",
  signInLead: "粘贴您收到的令牌，或整个链接。",
  token: "令牌",
  signIn: "登录",
  signOut: "退出登录",
  howToIssue: "为用户 1 签发令牌：",
  noToken: "这里没有令牌。令牌由三部分组成，中间用点隔开。",
  tokenEnded: "此令牌已过期，请获取新的令牌。",
  signedOut: {
    token_expired: "登录已过期。内容没有丢失，重新登录即可继续。",
    token_revoked: "登录已被撤销，请获取新的令牌。",
    logout: "您已退出登录。",
    other: "您已不在登录状态，重新登录即可继续。",
  },
  noConversations: "还没有会话",
  noConversationsHint: "输入对方的用户编号即可开始。",
  newConversation: "新会话",
  userNumber: "用户编号",
  userNumberWrong: "用户编号是从 1 开始的整数。",
  open: "打开",
  cancel: "取消",
  notes: "给自己的笔记",
  system: "系统",
  user: (id) => `用户 ${id}`,
  you: (text) => `我：${text}`,
  draft: "草稿：",
  unread: (n) => `${n} 条未读消息`,
  notify: "有新消息时通知我",
  loadMore: "加载更多",
  conversation: "当前会话",
  choose: "选择一个会话",
  chooseHint: "消息在服务器保存之后才显示为已发送。",
  back: "返回会话列表",
  messagesWith: (name) => `与${name}的消息`,
  nothingYet: "还没有消息",
  sayHello: "写下第一条消息吧。",
  writeNote: "写点需要记住的内容，您的所有设备都能看到。",
  beginning: "会话从这里开始",
  loading: "加载中…",
  typing: "正在输入…",
  newMessages: "新消息",
  toNewest: "跳到最新消息",
  unreadAbove: (n) => `上方有 ${n} 条未读消息`,
  markAllRead: "标为已读",
  readOnly: "这里是系统通知，无法回复。",
  message: "消息",
  messageTo: (name) => `发给${name}的消息`,
  send: "发送",
  showAll: "显示全部",
  showLess: "收起",
  said: (name, text) => `${name}：${text}`,
  newFrom: (name) => `${name}发来新消息`,
  pending: "等待发送",
  stored: "已发送",
  read: "已读",
  failed: "未发送",
  tryAgain: "重试",
  discard: "放弃",
  failure: {
    timeout: "服务器没有回应",
    content_too_large: "内容太长",
    empty_content: "内容为空",
    bad_recipient: "没有这个接收人",
    inbox_full: "对方的收件箱已满",
    rate_limited: "发送太频繁",
    store_unavailable: "服务器暂时无法保存消息",
    other: "服务器拒绝了这条消息",
  },
  connecting: "正在连接…",
  offline: "当前没有网络。您写的内容会在恢复后发送。",
  notUnderstood: "页面与服务器无法互通，请刷新页面。",
  loadFailed: "加载失败。",
  today: "今天",
  yesterday: "昨天",
};

const spoken: [RegExp, Words][] = [[/^en\b/i, en], [/^zh\b/i, zh]];

/** The first of the browser's languages that the page speaks, else English. */
function choose(): [Words, string] {
  for (const language of navigator.languages) {
    const found = spoken.find(([pattern]) => pattern.test(language));
    if (found) return [found[1], language];
  }
  return [en, en.lang];
}

/** The page's words, and how their readers write times and dates. */
export const [words, locale] = choose();

/** The words for a reason that the client gives, or those for any other. */
export function reason(among: Record<string, string> & { other: string }, code = ""): string {
  return Object.hasOwn(among, code) ? among[code]! : among.other;
}
