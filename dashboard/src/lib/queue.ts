/** What the server puts before an endpoint's id to name the endpoint's own queue. */
const OWN = "endpoint:";

/** The name of an endpoint's own queue. */
export const queueOfEndpoint = (endpoint: string): string => OWN + endpoint;

/** The endpoint whose own queue it is, if it is one's. */
export const endpointOfQueue = (queue: string): string | null => (queue.startsWith(OWN) ? queue.slice(OWN.length) : null);

/** A queue as people know it: an endpoint's own is named by the endpoint, which the server names by its id. */
export function queueName(queue: string, endpoints: readonly { id: string; name: string }[]): string {
  const endpoint = endpointOfQueue(queue);
  return endpoints.find(({ id }) => id === endpoint)?.name ?? queue;
}

/** A text of the server's in which the queues of endpoints are called by the endpoints' names. */
export const nameQueues = (text: string, endpoints: readonly { id: string; name: string }[]): string =>
  text.replace(/\bendpoint:ep_\w+/g, (queue) => queueName(queue, endpoints));
