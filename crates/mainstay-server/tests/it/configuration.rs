//! The configuration as a file: what is declared is made, once and whole or not at all, and no secret gets out.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    client::{Caller, World, text},
    on_both_servers,
    server::{Ran, Server, Settings, text as path_text},
};

const PAY: &str = "whsec_of_pay_which_nobody_may_see";
const META: &str = "the_app_secret_of_meta_0000";
const TOKEN: &str = "the_verify_token_of_meta";
const APP: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const APP_OLD: &str = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";

/// Every variable that the files of these tests name.
const VARIABLES: [(&str, &str); 7] = [
    ("PAY_SECRET", PAY),
    ("META_SECRET", META),
    ("META_TOKEN", TOKEN),
    ("APP_SECRET", APP),
    ("APP_SECRET_OLD", APP_OLD),
    ("IN_FLIGHT", "7"),
    ("HOST", "app.example.com"),
];

const FILE: &str = "\
sources:
  - name: pay
    scheme: stripe
    secrets: ['${PAY_SECRET}']
    settings: { tolerance_secs: 60 }
  - name: chat
    scheme: meta
    secrets:
      - ${META_SECRET}
    verify_token: ${META_TOKEN}
endpoints:
  - name: app
    url: https://${HOST}/hooks?price=$$5
    max_in_flight: !!int ${IN_FLIGHT}
    retry: { strategy: schedule, attempts_max: 3, delays_ms: [1000, 5000] }
    secrets: ['${APP_SECRET}', '${APP_SECRET_OLD}']
  - name: books
    url: https://books.example.com/
  - name: app
    tenant: acme
    url: https://acme.example.com/
bindings:
  - source: pay
    type_pattern: invoice.*, charge.refunded
    endpoint: app
  - source: pay
    type_pattern: invoice.*, charge.refunded
    ordering: { key: /data/object/customer, fallback: /data/object/id }
    endpoint: books
  - name: money in
    source: pay
    type_pattern: '*'
    handler: { kind: builtin, name: billing.record }
  - name: our own
    source: mainstay
    type_pattern: dead_letter.*
    endpoint: books
    enabled: false
";

/// What is said about a file is checked for secrets each time.
fn run(server: &Server, command: &[&str], file: &str) -> Ran {
    run_with(server, command, file, &VARIABLES)
}

fn run_with(server: &Server, command: &[&str], file: &str, variables: &[(&str, &str)]) -> Ran {
    let place = server.file("declared.yaml");
    std::fs::write(&place, file).expect("the file is written");
    let mut args = command.to_vec();
    args.extend(["--file", path_text(&place)]);
    let ran = server.run_with(&args, variables);
    without_secrets(&ran.out);
    without_secrets(&ran.err);
    ran
}

fn plan(server: &Server, command: &[&str], file: &str) -> Value {
    let mut command = command.to_vec();
    command.push("--json");
    let ran = run(server, &command, file);
    assert!([0, 7].contains(&ran.code), "{}{}", ran.out, ran.err);
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

fn without_secrets(said: &str) {
    for secret in [PAY, META, TOKEN, APP, APP_OLD] {
        assert!(!said.contains(secret), "{said}");
    }
}

/// Actions, kinds and names of a plan's changes.
fn changes(plan: &Value) -> Vec<String> {
    let changes = plan["changes"].as_array().expect("there are changes");
    let said = |change: &Value| {
        format!(
            "{} {} {}",
            text(change, "/action"),
            text(change, "/kind"),
            text(change, "/name")
        )
    };
    changes.iter().map(said).collect()
}

/// The fields of a change.
fn fields(plan: &Value, name: &str) -> Vec<(String, Value, Value)> {
    let changes = plan["changes"].as_array().expect("there are changes");
    let found = changes.iter().find(|change| change["name"] == name);
    let found = found.unwrap_or_else(|| panic!("{name} is not in {plan:#}"));
    let fields = found["fields"].as_array().expect("there are fields");
    fields
        .iter()
        .map(|one| (text(one, "/field"), one["old"].clone(), one["new"].clone()))
        .collect()
}

async fn acme(owner: &Caller) -> String {
    let tenant = json!({ "name": "Acme", "slug": "acme" });
    text(&owner.post("/v1/tenants", &tenant).await.ok(), "/id")
}

async fn names(owner: &Caller, path: &str) -> Vec<String> {
    let listed = owner.get(path).await.ok();
    let items = listed["items"].as_array().expect("a list");
    items.iter().map(|one| text(one, "/name")).collect()
}

/// The entries without their places in the chain, which they are given a moment later.
async fn audit(owner: &Caller) -> String {
    let mut found = owner.get("/v1/audit?limit=200").await.ok();
    for entry in found["items"].as_array_mut().expect("a list") {
        entry["position"].take();
    }
    found.to_string()
}

on_both_servers!(
    what_is_declared_is_made_and_made_once,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        acme(&owner).await;
        let differs = run(server, &["diff"], FILE);
        assert_eq!(differs.code, 7, "{}{}", differs.out, differs.err);
        assert!(
            differs.out.contains("9 to create, 0 to change"),
            "{}",
            differs.out
        );
        let dry = plan(server, &["apply", "--dry-run"], FILE);
        assert_eq!(
            (dry["applied"].clone(), changes(&dry).len()),
            (json!(false), 9)
        );
        assert!(!names(&owner, "/v1/sources").await.contains(&"pay".into()));

        let done = plan(server, &["apply"], FILE);
        assert_eq!(
            (done["applied"].clone(), changes(&done).len()),
            (json!(true), 9)
        );
        let same = run(server, &["diff"], FILE);
        assert_eq!(same.code, 0, "{}{}", same.out, same.err);
        assert_eq!(same.out, "nothing to change; 9 as declared\n");
        let trail = audit(&owner).await;
        let again = plan(server, &["apply"], FILE);
        assert_eq!(
            (changes(&again).len(), again["unchanged"].clone()),
            (0, json!(9))
        );
        assert_eq!(audit(&owner).await, trail, "what changes nothing is no act");
        without_secrets(&trail);
        for action in ["source.create", "endpoint.create", "binding.create"] {
            assert!(trail.contains(action), "{action}: {trail}");
        }

        let endpoints = owner.get("/v1/endpoints").await.ok();
        let items = endpoints["items"].as_array().expect("a list");
        let urls: Vec<_> = items.iter().map(|one| text(one, "/url")).collect();
        assert!(
            urls.contains(&"https://app.example.com/hooks?price=$5".into()),
            "{urls:?}"
        );
        let app = items.iter().find(|one| one["max_in_flight"] == 7);
        assert_eq!(
            app.expect("a number from a variable")["retry"]["delays_ms"],
            json!([1000, 5000])
        );
        let sent = server.json(&["send", "pay", "--secret", PAY, "--type", "invoice.paid"]);
        assert_eq!(sent["status"], 200);
        let events = server.json(&["event", "list", "--source", "pay"]);
        assert_eq!(events["items"][0]["jobs"]["total"], 3, "{events:#}");
    }
);

on_both_servers!(
    the_example_of_the_documentation_works,
    Settings::default(),
    |server| async {
        let page = include_str!("../../../../docs/declaring.md");
        let (_, rest) = page.split_once("```yaml\n").expect("there is an example");
        let (example, _) = rest.split_once("```").expect("it ends");
        let variables = [
            ("STRIPE_SECRET", PAY),
            ("META_APP_SECRET", META),
            ("META_VERIFY_TOKEN", TOKEN),
            ("APP_SIGNING_SECRET", APP),
            ("APP_HOST", "app.example.com"),
            ("APP_MAX_IN_FLIGHT", "8"),
        ];
        let applied = run_with(server, &["apply"], example, &variables);
        assert_eq!(applied.code, 0, "{}{}", applied.out, applied.err);
        let same = run_with(server, &["diff"], example, &variables);
        assert_eq!(same.code, 0, "{}{}", same.out, same.err);
    }
);

on_both_servers!(
    what_changes_is_said_field_by_field_and_what_is_left_out_is_as_it_was_made,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        acme(&owner).await;
        plan(server, &["apply"], FILE);
        let file = FILE
            .replace("tolerance_secs: 60", "body_limit_bytes: 1000")
            .replace("attempts_max: 3", "attempts_max: 4")
            .replace("    enabled: false\n", "")
            .replace(
                "    endpoint: books\n  - name: money in",
                "    endpoint: books\n    enabled: false\n  - name: money in",
            );
        let found = plan(server, &["diff"], &file);
        assert_eq!(
            changes(&found),
            [
                "update source pay",
                "update endpoint app",
                "update binding pay invoice.*,charge.refunded",
                "update binding our own",
            ]
        );
        assert_eq!(
            fields(&found, "pay"),
            [
                (
                    "/settings/body_limit_bytes".into(),
                    json!(1_048_576),
                    json!(1000)
                ),
                ("/settings/tolerance_secs".into(), json!(60), json!(300)),
            ]
        );
        assert_eq!(
            fields(&found, "app"),
            [("/retry/attempts_max".into(), json!(3), json!(4))]
        );
        assert_eq!(
            fields(&found, "our own"),
            [("/enabled".into(), json!(false), json!(true))]
        );
        let said = run(server, &["diff"], &file);
        assert!(
            said.out.contains("settings.tolerance_secs: 60 → 300"),
            "{}",
            said.out
        );
        let applied = plan(server, &["apply"], &file);
        assert_eq!(changes(&applied).len(), 4);
        assert_eq!(run(server, &["diff"], &file).code, 0);
        assert_eq!(run(server, &["diff"], FILE).code, 7);
    }
);

on_both_servers!(
    a_list_of_secrets_replaces_those_that_are_not_in_it,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let file = |secrets: &str, endpoint: &str| {
            format!(
                "sources: [{{ name: pay, scheme: stripe, secrets: {secrets} }}]\n\
                 endpoints: [{{ name: app, url: 'https://a.example/', secrets: {endpoint} }}]\n"
            )
        };
        let first = file(
            "['${PAY_SECRET}', '${META_SECRET}']",
            "['${APP_SECRET_OLD}']",
        );
        plan(server, &["apply"], &first);
        let source = || async {
            owner.get("/v1/sources").await.ok()["items"]
                .as_array()
                .and_then(|all| all.iter().find(|one| one["name"] == "pay").cloned())
                .expect("it is there")
        };
        let secret_of = |source: &Value, hint: &str| {
            let secrets = source["secrets"].as_array().cloned().unwrap_or_default();
            secrets.into_iter().find(|one| text(one, "/hint") == hint)
        };
        let kept = secret_of(&source().await, "…_see").expect("it is there");
        assert_eq!(
            server.json(&["send", "pay", "--secret", PAY])["status"],
            200
        );

        let second = file(
            "['${PAY_SECRET}', '${META_TOKEN}']",
            "['${APP_SECRET}', '${APP_SECRET_OLD}']",
        );
        let changed = plan(server, &["apply"], &second);
        assert_eq!(
            fields(&changed, "pay"),
            [(
                "/secrets".into(),
                json!(["…_see", "…0000"]),
                json!(["…_see", "…meta"])
            )]
        );
        assert_eq!(
            fields(&changed, "app"),
            [("/secrets".into(), json!(null), json!(null))]
        );
        let after = source().await;
        let same = secret_of(&after, "…_see").expect("it stays");
        assert_eq!(same["id"], kept["id"], "what stays is the same secret");
        assert!(secret_of(&after, "…0000").is_none() && secret_of(&after, "…meta").is_some());
        assert_eq!(run(server, &["diff"], &second).code, 0);
        let refused = server.run(&["send", "pay", "--secret", META]);
        assert_eq!(refused.code, 4, "{}", refused.out);
        let silent = "sources: [{ name: pay, scheme: stripe }]\nendpoints: [{ name: app, url: 'https://a.example/' }]\n";
        assert_eq!(
            run(server, &["diff"], silent).code,
            0,
            "secrets that are not named stay"
        );

        // A rotation's overlap ends by itself, whether the old secret is declared or not.
        plan(server, &["apply"], &first);
        let endpoints = owner.get("/v1/endpoints").await.ok();
        let id = text(&endpoints, "/items/0/id");
        let made = owner
            .post(&format!("/v1/endpoints/{id}/secret"), &json!({}))
            .await
            .ok();
        let new = text(&made, "/secret");
        for declared in ["['${NEW}']", "['${NEW}', '${APP_SECRET_OLD}']"] {
            let file = file("['${PAY_SECRET}', '${META_SECRET}']", declared);
            let mut variables = VARIABLES.to_vec();
            variables.push(("NEW", &new));
            let same = run_with(server, &["diff"], &file, &variables);
            assert_eq!(same.code, 0, "{declared}: {}", same.out);
        }
        without_secrets(&audit(&owner).await);
    }
);

on_both_servers!(
    an_export_applies_without_a_difference,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        acme(&owner).await;
        World::make(&owner, "other").await;
        plan(server, &["apply"], FILE);
        for source in [
            json!({ "name": "any", "scheme": "hmac", "secret": "a_secret_of_any", "settings": {
                "hmac": { "header": "X-Sig", "signed": "${timestamp}.{body}$", "timestamp_header": "X-Time", "id": { "pointer": "/id" } },
                "allow": ["192.0.2.0/24"], "answer": { "status": 202, "body": "a \"b\"\n# c: [d]" } } }),
            json!({ "name": "an-y", "scheme": "github" }),
            json!({ "name": "an_y", "scheme": "github" }),
        ] {
            owner.post("/v1/sources", &source).await.ok();
        }
        let twice = json!({ "source": "any", "type_pattern": "*", "endpoint": "books", "name": "no: \"such\" #1" });
        owner.post("/v1/bindings", &twice).await.ok();
        owner.post("/v1/bindings", &twice).await.ok();

        let export = owner.get("/v1/configuration").await;
        without_secrets(&export.text);
        let mut export = export.ok();
        let body = json!({ "configuration": export["configuration"].take() });
        let same = owner.post("/v1/configuration/apply", &body).await.ok();
        assert_eq!(
            same["changes"],
            json!([]),
            "an export names no secret, and they stay"
        );
        assert_eq!(same["unmanaged"], json!([]), "{same:#}");

        let file = server.file("exported.yaml");
        let exported = server.run(&["export", "-o", path_text(&file)]);
        assert_eq!(exported.code, 0, "{}", exported.err);
        let written = std::fs::read_to_string(&file).expect("it was written");
        without_secrets(&written);
        for name in [
            "SOURCE_PAY_SECRET",
            "SOURCE_CHAT_VERIFY_TOKEN",
            "SOURCE_AN_Y_SECRET_X2",
            "ENDPOINT_APP_SECRET_2",
            "ENDPOINT_ACME_APP_SECRET",
        ] {
            assert!(
                written.contains(&format!("${{{name}}}")),
                "{name}: {written}"
            );
        }
        let missing = run_with(server, &["diff"], &written, &[]);
        assert_eq!(missing.code, 2, "{}", missing.err);
        assert!(
            missing
                .err
                .contains("the variable SOURCE_PAY_SECRET is not set"),
            "{}",
            missing.err
        );
        let variables = export["variables"].as_array().cloned().unwrap_or_default();
        let without: String = written
            .lines()
            .filter(|line| !line.contains("${SOURCE_") && !line.contains("${ENDPOINT_"))
            .filter(|line| line.trim() != "secrets:")
            .map(|line| format!("{line}\n"))
            .collect();
        let same = run_with(server, &["diff"], &without, &[]);
        assert_eq!(same.code, 0, "{}{}", same.out, same.err);
        let wrong: Vec<(String, String)> = variables
            .iter()
            .map(|one| (text(one, "/name"), APP.to_owned()))
            .collect();
        let wrong: Vec<(&str, &str)> = wrong
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let differs = run_with(server, &["diff"], &without_second(&written), &wrong);
        assert_eq!(
            differs.code, 7,
            "another secret is a change: {}{}",
            differs.out, differs.err
        );
        let one = owner.get("/v1/configuration?tenant=acme").await.ok();
        assert_eq!(
            one["configuration"]["endpoints"].as_array().map(Vec::len),
            Some(1)
        );
        assert_eq!(
            owner.get("/v1/configuration?tenant=nobody").await.status,
            404
        );
    }
);

/// The file without the second secrets, so that one value for all of them is not there twice.
fn without_second(file: &str) -> String {
    let lines = file.lines().filter(|line| !line.contains("_SECRET_2}"));
    lines.map(|line| format!("{line}\n")).collect()
}

on_both_servers!(
    what_is_wrong_is_said_with_its_line_and_nothing_is_half_done,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let head = "sources:\n  - name: pay\n    scheme: stripe\n    secrets: ['${PAY_SECRET}']\n";
        let table = [
            ("    colour: blue\n", 2, "line 5, /sources/0/colour"),
            (
                "    settings: { tolerance_secs: 0 }\n",
                2,
                "line 5, /sources/0/settings/tolerance_secs",
            ),
            (
                "    settings: { tolerance_secs: '${APP_SECRET}' }\n",
                2,
                "line 5",
            ),
            ("    tenant: nobody\n", 2, "line 5, /sources/0/tenant"),
            (
                "bindings:\n  - source: pay\n    type_pattern: '*'\n    endpoint: nowhere\n",
                2,
                "line 8, /bindings/0/endpoint",
            ),
            (
                "bindings:\n  - { source: pay, type_pattern: 'a*b', endpoint: x }\n",
                2,
                "line 6, /bindings/0/type_pattern",
            ),
            (
                "bindings:\n  - { source: hay, type_pattern: '*', handler: { kind: builtin, name: nothing } }\n",
                2,
                "line 6",
            ),
            ("endpoints:\n  - name: app\n", 2, "line 6, /endpoints/0/url"),
            (
                "endpoints:\n  - { name: app, url: 'ftp://x/' }\n",
                2,
                "line 6, /endpoints/0/url",
            ),
            (
                "endpoints:\n  - { name: app, url: 'https://x/', secrets: ['${PAY_SECRET}'] }\n",
                2,
                "/endpoints/0/secrets/0",
            ),
            (
                "    verify_token: ${META_TOKEN}\n",
                2,
                "line 5, /sources/0/verify_token",
            ),
            ("    enabled: &x true\n    settings: *x\n", 2, "line 6"),
            (
                "    url: ${NOT_THERE}\n",
                2,
                "the variable NOT_THERE is not set",
            ),
            (
                "  - name: pay\n    scheme: github\n",
                2,
                "line 5, /sources/1/name",
            ),
        ];
        for (tail, code, part) in table {
            for command in ["diff", "apply"] {
                let ran = run(server, &[command], &format!("{head}{tail}"));
                assert_eq!(ran.code, code, "{tail}: {}{}", ran.out, ran.err);
                assert!(
                    ran.err.contains(part),
                    "{part} is missing for {tail}: {}",
                    ran.err
                );
            }
        }
        assert!(!names(&owner, "/v1/sources").await.contains(&"pay".into()));
        plan(server, &["apply"], head);
        let other = run(server, &["apply"], &head.replace("stripe", "github"));
        assert_eq!(other.code, 2, "{}", other.err);
        assert!(
            other.err.contains("line 3, /sources/0/scheme"),
            "{}",
            other.err
        );
    }
);

on_both_servers!(
    what_is_not_declared_is_left_alone_unless_it_is_to_be_pruned,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        acme(&owner).await;
        plan(server, &["apply"], FILE);
        let world = World::make(&owner, "other").await;
        let file = "sources: [{ name: chat, scheme: meta, verify_token: '${META_TOKEN}' }]\n";
        let left = plan(server, &["apply"], file);
        assert_eq!(changes(&left), Vec::<String>::new());
        assert_eq!(
            left["unmanaged"].as_array().map(Vec::len),
            Some(7),
            "{left:#}"
        );
        let said = run(server, &["diff"], file);
        assert_eq!(said.code, 0, "{}", said.out);
        assert!(
            said.out.contains("not declared, left alone:"),
            "{}",
            said.out
        );

        let named =
            format!("{file}bindings: [{{ source: pay, type_pattern: '*', endpoint: app }}]\n");
        let refused = run(server, &["diff", "--prune"], &named);
        assert_eq!(refused.code, 2, "{}", refused.err);
        assert!(refused.err.contains("would be removed"), "{}", refused.err);
        assert_eq!(run(server, &["diff", "--prune"], file).code, 7);
        let unasked = run(server, &["apply", "--prune"], file);
        assert_eq!(unasked.code, 4, "{}", unasked.err);
        assert!(unasked.err.contains("--yes"), "{}", unasked.err);
        assert!(names(&owner, "/v1/sources").await.contains(&"pay".into()));
        let pruned = plan(server, &["apply", "--prune", "--yes"], file);
        assert_eq!(changes(&pruned).len(), 7, "{pruned:#}");
        assert!(changes(&pruned).iter().all(|one| one.starts_with("delete")));
        let sources = names(&owner, "/v1/sources").await;
        assert!(!sources.contains(&"pay".into()), "{sources:?}");
        assert!(sources.contains(&"chat".into()) && sources.contains(&"mainstay".into()));
        // Of tenants that the file does not name nothing is removed.
        assert!(sources.contains(&world.source_name));
        assert_eq!(names(&owner, "/v1/endpoints").await.len(), 2);
        assert_eq!(names(&owner, "/v1/bindings").await.len(), 1);
        let trail = audit(&owner).await;
        assert!(trail.contains("source.delete") && trail.contains("binding.delete"));
    }
);

on_both_servers!(
    a_plan_that_is_no_longer_true_is_not_carried_out,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let declared = json!({ "sources": [{ "name": "pay", "scheme": "stripe" }] });
        let body = json!({ "configuration": declared, "dry_run": true });
        let plan = owner.post("/v1/configuration/apply", &body).await.ok();
        assert_eq!(plan["changes"][0]["id"], json!(null), "it has no id yet");
        owner
            .post("/v1/sources", &json!({ "name": "hub", "scheme": "github" }))
            .await
            .ok();
        let body = json!({ "configuration": declared, "version": plan["version"] });
        let late = owner.post("/v1/configuration/apply", &body).await;
        assert_eq!(late.problem(), (409, "state_conflict".into()));
        let body = json!({ "configuration": declared });
        let done = owner.post("/v1/configuration/apply", &body).await.ok();
        assert!(text(&done, "/changes/0/id").starts_with("src_"), "{done:#}");
    }
);

on_both_servers!(
    a_viewer_and_a_key_of_another_tenant_are_refused,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let acme = acme(&owner).await;
        plan(server, &["apply"], FILE);
        let viewer = owner.key(json!({ "name": "eyes", "role": "viewer" })).await;
        let bound = owner
            .key(json!({ "name": "acme", "role": "owner", "tenant_id": acme }))
            .await;
        let apply = |configuration: Value, dry_run: bool| json!({ "configuration": configuration, "dry_run": dry_run });
        for dry_run in [true, false] {
            let answer = viewer
                .post("/v1/configuration/apply", &apply(json!({}), dry_run))
                .await;
            assert_eq!(answer.problem(), (403, "role_forbidden".into()));
            for tenant in ["default", "nobody"] {
                for declared in [
                    json!({ "tenant": tenant }),
                    json!({ "sources": [{ "name": "x", "scheme": "stripe", "tenant": tenant }] }),
                ] {
                    let answer = bound
                        .post("/v1/configuration/apply", &apply(declared, dry_run))
                        .await;
                    assert_eq!(answer.problem(), (403, "tenant_forbidden".into()));
                }
            }
        }
        assert_eq!(viewer.get("/v1/configuration").await.status, 200);
        let own = bound.get("/v1/configuration").await.ok();
        assert_eq!(own["configuration"]["tenant"], "acme");
        assert_eq!(own["configuration"]["sources"], json!([]));
        let refused = bound.get("/v1/configuration?tenant=default").await;
        assert_eq!(refused.problem(), (403, "tenant_forbidden".into()));

        // A name that another tenant has: found by the database in the middle of the work, of which nothing is left.
        let declared = json!({
            "sources": [{ "name": "first", "scheme": "stripe" }, { "name": "pay", "scheme": "stripe" }],
            "endpoints": [{ "name": "second", "url": "https://x.example.com/" }],
        });
        let taken = bound
            .post("/v1/configuration/apply", &apply(declared, false))
            .await;
        assert_eq!(taken.problem(), (409, "already_exists".into()));
        assert_eq!(names(&bound, "/v1/sources").await, Vec::<String>::new());
        assert_eq!(names(&bound, "/v1/endpoints").await, ["app"]);
        let declared =
            json!({ "endpoints": [{ "name": "app", "url": "https://new.example.com/" }] });
        let done = bound
            .post("/v1/configuration/apply", &apply(declared, false))
            .await
            .ok();
        assert_eq!(changes(&done), ["update endpoint app"]);
        assert_eq!(done["changes"][0]["tenant"], "acme");

        // A rule gives events to other tenants: neither made nor, by leaving it out, removed by who is bound to one.
        let rule = json!({ "tenant": { "find": [{ "pointer": "/account" }] } });
        let ruled = json!({ "name": "shared", "scheme": "stripe", "settings": rule });
        let refused = bound
            .post(
                "/v1/configuration/apply",
                &apply(json!({ "sources": [ruled] }), false),
            )
            .await;
        assert_eq!(refused.problem(), (400, "validation_failed".into()));
        let mut declared = json!({ "tenant": "acme", "sources": [ruled] });
        owner
            .post("/v1/configuration/apply", &apply(declared.clone(), false))
            .await
            .ok();
        declared["sources"][0]
            .as_object_mut()
            .expect("a source")
            .remove("settings");
        let refused = bound
            .post("/v1/configuration/apply", &apply(declared, false))
            .await;
        assert_eq!(refused.problem(), (400, "validation_failed".into()));
    }
);

on_both_servers!(
    nobody_changes_anything_between_a_plan_and_its_being_done,
    Settings::default(),
    |server| async {
        const WRITERS: usize = 16;
        let url = |number: usize| format!("https://{number}.example.com/");
        let owner = Caller::owner(server);
        let new = json!({ "name": "app", "url": "https://first.example.com/" });
        let made = owner.post("/v1/endpoints", &new).await.ok();
        let place = format!("/v1/endpoints/{}", text(&made, "/endpoint/id"));
        // Each declares another URL; every fourth changes it without a plan.
        let writers = (0..WRITERS).map(|number| {
            let (owner, place, url) = (&owner, &place, url(number));
            async move {
                let change = json!({ "url": url });
                if number % 4 == 3 {
                    owner.patch(place, &change).await.ok();
                    return None;
                }
                let declared = json!({ "endpoints": [{ "name": "app", "url": url }] });
                let asked = json!({ "configuration": declared });
                Some(owner.post("/v1/configuration/apply", &asked).await.ok())
            }
        });
        let mut replaced = Vec::new();
        let mut versions = Vec::new();
        for plan in join_all(writers).await.into_iter().flatten() {
            assert_eq!(changes(&plan), ["update endpoint app"]);
            let fields = fields(&plan, "app");
            assert_eq!(fields[0].0, "/url");
            replaced.push(fields[0].1.to_string());
            versions.push(plan["version"].as_i64());
        }
        // What a plan says that it replaces was there, and nobody else replaced it.
        let last = owner.get(&place).await.ok()["url"].to_string();
        let distinct = |mut list: Vec<String>| {
            list.sort();
            list.dedup();
            list.len()
        };
        assert!(!replaced.contains(&last), "{last}: {replaced:?}");
        assert_eq!(distinct(replaced.clone()), replaced.len(), "{replaced:?}");
        versions.sort_unstable();
        versions.dedup();
        assert_eq!(versions.len(), replaced.len(), "{versions:?}");
    }
);

on_both_servers!(
    changes_of_different_fields_at_once_all_stay,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let source = json!({ "name": "pay", "scheme": "stripe", "secret": PAY });
        let source = text(&owner.post("/v1/sources", &source).await.ok(), "/source/id");
        let endpoint = json!({ "name": "app", "url": "https://app.example.com/" });
        let endpoint = owner.post("/v1/endpoints", &endpoint).await.ok();
        let endpoint = text(&endpoint, "/endpoint/id");
        let binding = json!({ "source": "pay", "type_pattern": "*", "endpoint_id": endpoint });
        let binding = text(&owner.post("/v1/bindings", &binding).await.ok(), "/id");
        let (source, binding) = (
            format!("/v1/sources/{source}"),
            format!("/v1/bindings/{binding}"),
        );
        let endpoint = format!("/v1/endpoints/{endpoint}");
        // Several rounds: each field has another value in each.
        for round in 1..=5 {
            let name = format!("app {round}");
            let url = format!("https://{round}.example.com/");
            let pattern = format!("invoice.{round}");
            let on = round % 2 == 0;
            let changes = [
                (&endpoint, json!({ "name": name })),
                (&endpoint, json!({ "url": url })),
                (&endpoint, json!({ "enabled": on })),
                (&endpoint, json!({ "max_in_flight": round })),
                (&source, json!({ "enabled": on })),
                (&source, json!({ "settings": { "tolerance_secs": round } })),
                (&binding, json!({ "name": name })),
                (&binding, json!({ "enabled": on })),
                (&binding, json!({ "type_pattern": pattern })),
            ];
            let patched = changes
                .iter()
                .map(|(path, change)| owner.patch(path, change));
            for answer in join_all(patched).await {
                answer.ok();
            }
            let found = owner.get(&endpoint).await.ok();
            assert_eq!((&found["name"], &found["url"]), (&json!(name), &json!(url)));
            assert_eq!(
                (&found["enabled"], &found["max_in_flight"]),
                (&json!(on), &json!(round))
            );
            let found = owner.get(&source).await.ok();
            assert_eq!(
                (&found["enabled"], &found["settings"]["tolerance_secs"]),
                (&json!(on), &json!(round))
            );
            let found = owner.get(&binding).await.ok();
            assert_eq!(
                (&found["name"], &found["enabled"], &found["type_pattern"]),
                (&json!(name), &json!(on), &json!(pattern))
            );
        }
        // No rotation is lost either.
        let (rotate, day) = (format!("{endpoint}/secret"), json!({}));
        let rotated = (0..2).map(|_| owner.post(&rotate, &day));
        for answer in join_all(rotated).await {
            answer.ok();
        }
        let found = owner.get(&endpoint).await.ok();
        assert_eq!(
            found["secrets"].as_array().map(Vec::len),
            Some(3),
            "{found:#}"
        );
    }
);
