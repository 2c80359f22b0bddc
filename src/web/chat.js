// The smallest page that chats, in plain WebSocket code by the 2020 document alone.
"use strict";

const $ = (id) => document.getElementById(id);

// What the document asks: no answer within 6 seconds means resend, three times.
const ANSWER_MS = 6000;
const RESENDS = 3;

let socket = null;
let me = 0;
const waiting = []; // Sent and not answered, oldest first: answers come in order.

/** The user of a token, for the page's own use; the server decides who one is. */
function subject(token) {
  try {
    const claims = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    return Number(JSON.parse(atob(claims)).sub) || 0;
  } catch {
    return 0;
  }
}

function show(text, options) {
  const item = document.createElement("li");
  const who = document.createElement("small");
  who.textContent = options.who;
  item.append(who, text); // Text stays text: nothing here is ever read as HTML.
  item.className = options.className || "";
  $("messages").append(item);
  item.scrollIntoView({ block: "end" });
  return item;
}

function frame(toId, type, content) {
  const timestamp = String(Math.floor(Date.now() / 1000));
  return JSON.stringify({ fromId: me, toId, type, content, timestamp, Describe: "" });
}

function transmit(sent) {
  sent.tries += 1;
  clearTimeout(sent.timer);
  sent.timer = setTimeout(() => resend(sent), ANSWER_MS);
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(sent.packet);
}

function resend(sent) {
  if (!waiting.includes(sent)) return;
  if (sent.tries > RESENDS) settle(sent, "failed");
  else transmit(sent);
}

function settle(sent, className) {
  clearTimeout(sent.timer);
  waiting.splice(waiting.indexOf(sent), 1);
  sent.item.className = "mine " + className;
}

function answered(timestamp, className) {
  const sent = waiting.find((one) => one.timestamp === timestamp);
  if (sent) settle(sent, className);
}

function receive(event) {
  const data = JSON.parse(event.data);
  if (data.type === 0) answered(data.timestamp, "");
  else if (data.type === 1) {
    answered(data.timestamp, "failed");
    $("state").textContent = JSON.parse(data.Describe).message;
  } else if (data.type === 2) {
    const about = JSON.parse(data.Describe);
    show(data.content, { who: about.userName || `User ${data.fromId}` });
    if (!$("peer").value && data.fromId !== me) $("peer").value = data.fromId;
    socket.send(frame(0, 1, `[${about.messageId}]`));
  }
}

function connect(token) {
  me = subject(token);
  $("sign-in").hidden = true;
  $("chat").hidden = false;
  $("state").textContent = "Connecting …";
  socket = new WebSocket(`wss://${location.host}/teaching/imserver/${token}`);
  socket.onopen = () => {
    $("state").textContent = `You are user ${me}`;
    waiting.forEach((sent) => socket.send(sent.packet));
  };
  socket.onmessage = receive;
  socket.onclose = (event) => {
    if (event.code === 4401 || event.code === 4403) {
      $("state").textContent = "The token is no longer valid: issue another one";
      $("sign-in").hidden = false;
      return;
    }
    $("state").textContent = "Not connected; trying again …";
    setTimeout(() => connect(token), 1000 + Math.random() * 4000);
  };
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const to = Number($("peer").value);
  const text = $("text").value;
  const packet = frame(to, 0, text);
  const item = show(text, { who: `to ${to}`, className: "mine pending" });
  const sent = { packet, item, timestamp: JSON.parse(packet).timestamp, tries: 0, timer: 0 };
  waiting.push(sent);
  transmit(sent);
  $("text").value = "";
});

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  connect($("token").value.trim());
});

// The part behind # never reaches a server or its logs.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) connect(given);
else $("sign-in").hidden = false;
