"use strict";

// The same as bench/peers/writeloop.py, by Node's usual WebSocket library: versions counted on POST, and at most
// one broadcast per turn of the loop, of bytes made once.

const http = require("node:http");
const { parseArgs } = require("node:util");
const { WebSocket, WebSocketServer } = require("ws");

const { values: options } = parseArgs({
  options: { port: { type: "string" }, "frame-bytes": { type: "string" } },
});
const frameBytes = Number(options["frame-bytes"]);
const payloadBytes = frameBytes - (frameBytes < 128 ? 2 : 4);

const ANSWERS = {
  auth: [{ type: "reply", id: "1", ok: true }],
  subscribe: [
    { type: "subscribed", id: "2", view: "floor", version: 0, recovered: false },
    { type: "snapshot", view: "floor", version: 0, slots: [] },
  ],
};

const subscribers = new Set();
let version = 0;
let due = false;

function delta() {
  const message = { type: "delta", version, pad: "" };
  message.pad = "x".repeat(Math.max(0, payloadBytes - JSON.stringify(message).length));
  return Buffer.from(JSON.stringify(message));
}

function broadcast() {
  due = false;
  const data = delta();
  for (const socket of subscribers) {
    if (socket.readyState === WebSocket.OPEN) socket.send(data, { binary: false });
  }
}

function change(request, response) {
  request.resume();
  request.on("end", () => {
    version += 1;
    if (!due) {
      due = true;
      setImmediate(broadcast);
    }
    const body = JSON.stringify({ id: "floor", calendar_version: version });
    response.writeHead(201, { "Content-Type": "application/json", "Content-Length": body.length });
    response.end(body);
  });
}

const server = http.createServer((request, response) => {
  if (request.method === "POST" && /^\/api\/v1\/bookings(\/[^/]+\/cancel)?$/.test(request.url)) {
    change(request, response);
  } else {
    response.writeHead(request.url === "/readyz" ? 200 : 404, { "Content-Length": 0 });
    response.end();
  }
});
// The generator's connections rest while another contender has its turn.
server.keepAliveTimeout = 0;

const sockets = new WebSocketServer({
  server,
  path: "/api/v1/live",
  perMessageDeflate: false,
  handleProtocols: () => "slotcast.v1",
});

sockets.on("connection", (socket) => {
  socket.send(JSON.stringify({ type: "welcome" }));
  socket.on("message", (data) => {
    const { type } = JSON.parse(data);
    for (const answer of ANSWERS[type]) socket.send(JSON.stringify(answer));
    if (type === "subscribe") subscribers.add(socket);
  });
  socket.on("close", () => subscribers.delete(socket));
});

process.on("SIGTERM", () => process.exit(0));
server.listen(Number(options.port), "127.0.0.1");
