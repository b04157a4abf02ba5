// The commands that empty pages offer, in one place, so that they can be checked against the real command line.
import type { Scheme } from "../api/types";

const origin = () => location.origin;

export const commands = {
  sourceCreate: (scheme: Scheme = "stripe") => `mainstay source create ${scheme} --scheme ${scheme} --secret whsec_…`,
  endpointCreate: () => "mainstay endpoint create shop https://shop.example.com/hooks",
  bindingCreate: (source = "stripe", endpoint = "shop") => `mainstay binding create --source ${source} --type 'invoice.*' --endpoint ${endpoint}`,
  scheduleCreate: (endpoint = "shop") => `mainstay schedule create daily-analytics --cron '0 2 * * *' --endpoint ${endpoint}`,
  sagaCreate: () => "mainstay saga create order --steps @order.json",
  jobCreate: () => `mainstay job submit noop --payload '{}'`,
  send: (url: string) => `curl -i ${origin()}${url} \\\n  -H 'content-type: application/json' \\\n  -d '{"type":"ping"}'`,
  listen: (source: string) => `mainstay listen --url ${origin()} --source ${source} \\\n  --forward http://localhost:3000/webhooks`,
};
