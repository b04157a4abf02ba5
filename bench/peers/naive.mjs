// The webhook handler that teams write today: Express, the `stripe` package, one INSERT for each event.
//
// It verifies the signature on the raw body, inserts the event once (the provider's id is the key) and
// answers 200 after the commit. It does no more than that: no job, no refusal kept, no retry.
//
//   DATABASE_URL=postgres://… STRIPE_SECRET=whsec_… PORT=0 node naive.mjs
//
// Prints `listening PORT` when it is ready; ends on SIGTERM.
import express from "express";
import pg from "pg";
import Stripe from "stripe";

const secret = process.env.STRIPE_SECRET;
const stripe = new Stripe("sk_test_not_used");
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });

await pool.query(`
  CREATE TABLE IF NOT EXISTS naive_event (
    id text PRIMARY KEY,
    type text NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
  )`);

const app = express();
app.disable("x-powered-by");

app.post("/webhooks/stripe", express.raw({ type: "application/json", limit: "1mb" }), async (req, res) => {
  let event;
  try {
    event = stripe.webhooks.constructEvent(req.body, req.headers["stripe-signature"], secret);
  } catch (error) {
    res.status(400).send(`Webhook Error: ${error.message}`);
    return;
  }
  try {
    await pool.query("INSERT INTO naive_event (id, type, payload) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING", [
      event.id,
      event.type,
      event,
    ]);
  } catch {
    res.status(500).end();
    return;
  }
  res.json({ received: true });
});

const server = app.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`listening ${server.address().port}`);
});

process.on("SIGTERM", () => {
  server.closeAllConnections();
  server.close(() => pool.end().then(() => process.exit(0)));
});
