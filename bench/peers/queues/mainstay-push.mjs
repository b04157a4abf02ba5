// Jobs that webhooks bring, pushed over HTTP to an endpoint in this process, which answers 204 and does nothing: each is a
// verified, committed event first, and then a signed delivery whose start and outcome are committed. Every process has an
// endpoint of its own, which is disabled until it is told to begin.
import { Agent, createServer, request } from "node:http";
import { once } from "node:events";
import { PAYLOAD, inPieces, program } from "./program.mjs";

const server = new URL(process.env.MAINSTAY_URL);
const own = process.env.PEER_PROCESS;
const CONNECTIONS = 64;
const IN_FLIGHT = 200;

async function api(method, path, body) {
  const headers = { authorization: `Bearer ${process.env.MAINSTAY_KEY}`, "content-type": "application/json" };
  const answer = await fetch(new URL(`/v1/${path}`, server), { method, headers, body: body && JSON.stringify(body) });
  const said = await answer.json();
  if (!answer.ok) throw new Error(`${method} ${path}: ${JSON.stringify(said)}`);
  return said;
}

/** The source, and for so many processes an endpoint and what leads to it. */
async function install() {
  const event = { id: { pointer: "/id" }, type: { pointer: "/type" } };
  await api("POST", "sources", { name: "bench", scheme: "bearer", secret: process.env.PEER_SECRET, settings: { event } });
  for (let at = 0; at < Number(process.env.PEER_PROCESSES); at += 1) {
    const made = await api("POST", "endpoints", { name: `bench-${at}`, url: "http://127.0.0.1:1/", max_in_flight: IN_FLIGHT });
    await api("PATCH", `endpoints/${made.endpoint.id}`, { enabled: false });
    await api("POST", "bindings", { source: "bench", type_pattern: `bench.${at}`, endpoint_id: made.endpoint.id });
  }
}

/** Sends a webhook; resolves once it is acknowledged. */
function send(agent, body) {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${process.env.PEER_SECRET}`, "content-length": Buffer.byteLength(body) };
    const { hostname, port } = server;
    const sent = request({ agent, hostname, port, method: "POST", path: "/in/bench", headers }, (answer) => {
      answer.resume();
      answer.once("end", () => (answer.statusCode === 200 ? resolve() : reject(new Error(`a webhook was answered ${answer.statusCode}`))));
    });
    sent.once("error", reject);
    sent.end(body);
  });
}

program({
  install,
  async enqueue() {
    const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
    await api("GET", "health");
    let id = 0;
    const one = () => send(agent, JSON.stringify({ id: `${own}-${(id += 1)}`, type: `bench.${own}`, ...PAYLOAD }));
    return (count) => inPieces(count, 1, CONNECTIONS, one);
  },
  async drain(handled) {
    const receiver = createServer((incoming, answer) => {
      incoming.resume();
      incoming.once("end", () => {
        answer.writeHead(204).end();
        handled(1);
      });
    });
    receiver.keepAliveTimeout = 60_000;
    receiver.listen(0, "127.0.0.1");
    await once(receiver, "listening");
    const { items } = await api("GET", "endpoints?limit=100");
    const { id } = items.find((endpoint) => endpoint.name === `bench-${own}`);
    const url = `http://127.0.0.1:${receiver.address().port}/`;
    await api("PATCH", `endpoints/${id}`, { url });
    return { start: () => api("PATCH", `endpoints/${id}`, { enabled: true }) };
  },
});
