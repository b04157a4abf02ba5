// A server that answers what a test says, and remembers what it was asked.
import { createServer } from 'node:http';
import { Mainstay } from '../dist/index.js';

export async function fake(answer) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const part of request) text += part;
    const asked = { method: request.method, path: request.url, headers: request.headers, body: text && JSON.parse(text) };
    requests.push(asked);
    const given = await answer(asked, requests.length, request);
    if (given === 'hang') return;
    if (given === 'reset') {
      request.socket.destroy();
      return;
    }
    const { status = 200, headers = {}, json = {} } = given;
    const type = status < 400 ? 'application/json' : 'application/problem+json';
    response.writeHead(status, { 'content-type': type, ...headers });
    response.end(typeof json === 'string' ? json : JSON.stringify(json));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  return {
    url,
    requests,
    mainstay: new Mainstay({ url: `${url}/`, key: 'msk_test' }),
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

export function problem(status, code, headers = {}) {
  const json = { type: `/docs/errors#${code}`, title: code, status, detail: `because of ${code}`, code };
  return { status, headers, json };
}
