//! The command line as a person uses it: a whole session on both databases, errors, exit codes.

use serde_json::{Value, json};

use crate::{
    receiver::Receiver,
    server::{Server, alone, alone_with, binary, text},
};

const SECRET: &str = "whsec_of_the_test";

#[test]
fn a_session_from_source_to_dead_letter_and_back_on_sqlite() {
    session(&mut Server::sqlite());
}

#[test]
fn a_session_from_source_to_dead_letter_and_back_on_postgres() {
    let mut server = mainstay_testkit::run(Server::postgres());
    session(&mut server);
    mainstay_testkit::run(async { drop(server) });
}

fn session(server: &mut Server) {
    let receiver = Receiver::answering(400);
    declare(server, &receiver);
    let event = one_event(server, &receiver);
    a_dead_letter_runs_again(server, &receiver, &event);
    an_event_is_replayed(server, &receiver, &event);
    a_schedule_is_made_and_run(server);
    a_duplicate_is_counted(server, &event);
    a_forged_request_is_refused(server, &receiver);
    what_was_refused_comes_in_once_the_secret_is_there(server, &receiver);
    roles_are_kept_apart(server);
    looks_from_all_sides(server);
    says_where_the_data_is(server);
    a_backup_of_the_running_server_is_whole(server);
    assert_eq!(server.stop(), Some(0), "an orderly end");
    let gone = server.run(&["event", "list"]);
    assert_eq!(gone.code, 5, "{}", gone.err);
    assert!(gone.err.contains("mainstay serve"), "{}", gone.err);
}

fn declare(server: &Server, receiver: &Receiver) {
    let source = server.json(&[
        "source", "create", "pay", "--scheme", "stripe", "--secret", SECRET,
    ]);
    assert_eq!(source["source"]["url"], "/in/pay");
    let endpoint = server.json(&["endpoint", "create", "shop", &receiver.url]);
    assert!(
        endpoint["secret"]
            .as_str()
            .is_some_and(|secret| secret.starts_with("whsec_"))
    );
    let binding = server.json(&[
        "binding",
        "create",
        "--source",
        "pay",
        "--type",
        "invoice.*",
        "--filter",
        "body.object == 'event'",
        "--endpoint",
        "shop",
    ]);
    assert_eq!(binding["handler"]["endpoint_name"], "shop");
    let listed = server.run(&["endpoint", "list"]);
    assert!(
        listed
            .out
            .lines()
            .nth(1)
            .is_some_and(|line| line.starts_with("shop")),
        "{}",
        listed.out
    );
}

/// An event whose job ends as a dead letter, since the endpoint says that the input is wrong.
fn one_event(server: &Server, receiver: &Receiver) -> Value {
    let sent = server.json(&["send", "pay", "--secret", SECRET]);
    assert_eq!(sent["status"], 200);
    let request = receiver.next();
    let payload: Value = serde_json::from_slice(&request.body).expect("the provider's payload");
    assert_eq!(payload["id"], sent["id"]);
    let letters = server.until(&["dead-letter", "list"], |found| {
        found["items"] != json!([])
    });
    assert_eq!(letters["items"][0]["code"], "rejected");
    let events = server.json(&["event", "list", "--source", "pay", "--status", "error"]);
    assert_eq!(events["items"].as_array().map(Vec::len), Some(1));
    let event = events["items"][0].clone();
    filters_are_tried(server, event["id"].as_str().expect("an id"));
    event
}

fn filters_are_tried(server: &Server, event: &str) {
    let test = ["binding", "test", event, "--filter"];
    for (filter, outcome) in [("type == 'invoice.paid'", "passed"), ("false", "held")] {
        let said = server.json(&[&test[..], &[filter]].concat());
        assert_eq!(said["outcome"], outcome);
    }
    let failed = server.run(&[&test[..], &["body.none == 1"]].concat());
    assert_eq!(failed.out.trim(), "failed: there is no field none");
    let wrong = server.run(&[&test[..], &["body ="]].concat());
    assert!(
        wrong.code != 0 && wrong.err.contains("column"),
        "{}",
        wrong.err
    );
}

fn a_dead_letter_runs_again(server: &Server, receiver: &Receiver, event: &Value) {
    let id = event["id"].as_str().expect("an id");
    let shown = server.run(&["event", "show", id]);
    for part in [
        "invoice.paid",
        "error",
        "rejected",
        "Requests",
        "accepted",
        "Payload",
    ] {
        assert!(
            shown.out.contains(part),
            "{part} is missing:\n{}",
            shown.out
        );
    }
    let plan = server.json(&["dead-letter", "retry", "--code", "rejected", "--plan"]);
    assert_eq!(plan["matched"], 1);
    let unasked = server.run(&["dead-letter", "retry", "--all"]);
    assert_eq!(unasked.code, 4, "{}", unasked.err);
    assert!(unasked.err.contains("--yes"), "{}", unasked.err);
    receiver.answer(204);
    let ran = server.json(&["dead-letter", "retry", "--all", "--yes"]);
    assert_eq!(ran["retried"], 1);
    let again = receiver.next();
    assert!(again.header("mainstay-job-id").starts_with("job_"));
    server.until(&["event", "show", id], |found| found["status"] == "success");
    assert!(receiver.is_quiet(), "one try for one order");
    let none = server.run(&["dead-letter", "list"]);
    assert_eq!((none.code, none.out.as_str()), (0, "no dead letters\n"));
}

fn a_schedule_is_made_and_run(server: &Server) {
    let told = server.json(&[
        "schedule",
        "preview",
        "30 2 * * *",
        "--zone",
        "Europe/Berlin",
        "--count",
        "3",
    ]);
    assert_eq!(told["ticks"].as_array().map(Vec::len), Some(3));
    let made = server.json(&[
        "schedule",
        "create",
        "nightly",
        "--cron",
        "0 2 * * *",
        "--kind",
        "noop",
        "--payload",
        r#"{"a":1}"#,
        "--jitter-secs",
        "5",
    ]);
    assert_eq!(
        (&made["payload"], &made["jitter_ms"]),
        (&json!({ "a": 1 }), &json!(5_000))
    );
    let changed = server.json(&[
        "schedule",
        "update",
        "nightly",
        "--zone",
        "Europe/Berlin",
        "--overlap",
        "wait",
    ]);
    assert_eq!(changed["overlap"], "wait");
    let run = server.json(&["schedule", "run", "nightly"]);
    assert_eq!(run["outcome"], "by_hand");
    let paused = server.json(&["schedule", "pause", "nightly"]);
    assert_eq!(paused["next_tick"], Value::Null);
    let resumed = server.json(&["schedule", "resume", "nightly"]);
    assert!(resumed["next_tick"].is_string(), "{resumed}");
    let shown = server.run(&["schedule", "show", "nightly"]);
    for part in ["next ticks", "clock changes", "by_hand", "Europe/Berlin"] {
        assert!(shown.out.contains(part), "{part}: {}", shown.out);
    }
    let listed = server.run(&["schedule", "list"]);
    assert!(listed.out.contains("nightly"), "{}", listed.out);
    let wrong = server.run(&["schedule", "preview", "often"]);
    assert!(wrong.err.contains("five fields"), "{}", wrong.err);
    server.json(&["schedule", "delete", "nightly", "--yes"]);
    assert_eq!(server.json(&["schedule", "list"])["items"], json!([]));
}

fn an_event_is_replayed(server: &Server, receiver: &Receiver, event: &Value) {
    let event = event["id"].as_str().expect("an id");
    let plan = server.json(&["event", "replay", event, "--plan", "--rate", "5"]);
    assert_eq!(
        (&plan["jobs"], &plan["already_done"]),
        (&json!(1), &json!(1))
    );
    let done = server.json(&["event", "replay", event, "--skip-done", "--yes"]);
    assert_eq!(done["jobs"], 0, "there is nothing to replay: {done}");
    let begun = server.json(&["event", "replay", event, "--yes"]);
    let id = begun["id"].as_str().expect("an id");
    receiver.next();
    let ended = server.until(&["replay", "show", id], |found| found["state"] == "done");
    assert_eq!((&ended["jobs"], &ended["done"]), (&json!(1), &json!(1)));
    let listed = server.json(&["replay", "list", "--state", "done"]);
    assert_eq!(listed["items"][0]["id"], json!(id));
    let late = server.run(&["replay", "stop", id]);
    assert!(late.err.contains("done"), "{}", late.err);
}

fn a_duplicate_is_counted(server: &Server, event: &Value) {
    let provider_id = event["provider_id"].as_str().expect("an id");
    let sent = server.json(&["send", "pay", "--secret", SECRET, "--id", provider_id]);
    assert_eq!(sent["status"], 200);
    let found = server.json(&["event", "list", "-q", provider_id]);
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(found["items"][0]["deliveries"], 2);
}

fn a_forged_request_is_refused(server: &Server, receiver: &Receiver) {
    let forged = server.run(&["send", "pay", "--secret", "whsec_forged"]);
    assert_eq!(forged.code, 4, "{}{}", forged.out, forged.err);
    assert!(forged.out.starts_with("401"), "{}", forged.out);
    let old = server.run(&["send", "pay", "--secret", SECRET, "--age-secs", "3600"]);
    assert_eq!(old.code, 4, "{}", old.out);
    let refused = server.until(&["event", "refused"], |found| {
        found["items"]
            .as_array()
            .is_some_and(|items| items.len() == 2)
    });
    let reasons: Vec<&Value> = refused["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["reason"])
        .collect();
    assert!(reasons.contains(&&json!("signature_wrong")), "{refused}");
    assert!(receiver.is_quiet());
}

fn what_was_refused_comes_in_once_the_secret_is_there(server: &Server, receiver: &Receiver) {
    const ROTATED: &str = "whsec_rotated_too_early";
    let sent = server.run(&["send", "pay", "--secret", ROTATED, "--id", "evt_early"]);
    assert_eq!(sent.code, 4, "{}{}", sent.out, sent.err);
    server.until(&["event", "refused"], |found| {
        found["items"]
            .as_array()
            .is_some_and(|items| items.len() == 3)
    });
    let cause = |at: usize| {
        let refused = server.json(&["event", "refused"]);
        let id = refused["items"][at]["id"].as_str().expect("an id");
        let shown = server.run(&["event", "refused", id]);
        assert_eq!(shown.code, 0, "{}", shown.err);
        assert!(!shown.out.contains("whsec_"), "{}", shown.out);
        let told = server.json(&["event", "refused", id]);
        assert!(
            shown
                .out
                .contains(told["diagnosis"]["detail"].as_str().expect("a sentence"))
        );
        told["diagnosis"].clone()
    };
    // What `send` makes up says that it is of the test mode.
    assert_eq!(cause(0)["cause"], "test_mode");
    let skewed = cause(1);
    assert_eq!(skewed["cause"], "clock_skew");
    assert!(
        skewed["clock_difference_secs"]
            .as_i64()
            .is_some_and(|secs| (3_600..3_700).contains(&secs)),
        "{skewed}"
    );
    let other = [
        "source", "create", "other", "--scheme", "stripe", "--secret",
    ];
    server.json(&[&other[..], &[ROTATED]].concat());
    let swapped = cause(0);
    assert_eq!(
        (&swapped["cause"], &swapped["other_source_name"]),
        (&json!("other_source"), &json!("other"))
    );
    let before = server.run(&["source", "reverify", "pay", "--plan"]);
    assert_eq!(before.code, 0, "{}", before.err);
    assert!(before.out.contains("signature_wrong"), "{}", before.out);
    let added = server.run(&["source", "secret", "add", "pay", "--secret", ROTATED]);
    assert_eq!(added.code, 0, "{}", added.err);
    let plan = server.json(&["source", "reverify", "pay", "--plan"]);
    assert_eq!(
        (&plan["examined"], &plan["genuine"]),
        (&json!(3), &json!(1))
    );
    let unasked = server.run(&["source", "reverify", "pay"]);
    assert_eq!(unasked.code, 4, "{}", unasked.err);
    assert!(unasked.err.contains("--yes"), "{}", unasked.err);
    assert!(receiver.is_quiet(), "a plan does nothing");
    let done = server.json(&["source", "reverify", "pay", "--yes"]);
    assert_eq!(done["released"], 1, "{done}");
    assert_eq!(
        done["still_refused"],
        json!([
            { "reason": "signature_wrong", "count": 1 },
            { "reason": "timestamp_too_old", "count": 1 },
        ])
    );
    let request = receiver.next();
    let payload: Value = serde_json::from_slice(&request.body).expect("the provider's payload");
    assert_eq!(payload["id"], "evt_early");
    let refused = server.json(&["event", "refused"]);
    assert_eq!(refused["items"].as_array().map(Vec::len), Some(2));
    let again = server.run(&["source", "reverify", "pay", "--yes"]);
    assert!(again.out.contains("nothing to release"), "{}", again.out);
    let audit = server
        .json(&["sql", "SELECT action, detail FROM audit"])
        .to_string();
    for part in ["source.reverify", "receipt.release", "rcp_"] {
        assert!(audit.contains(part), "{part} is missing: {audit}");
    }
}

fn roles_are_kept_apart(server: &Server) {
    let made = server.json(&["key", "create", "reader", "--role", "viewer"]);
    let key = made["secret"].as_str().expect("a secret");
    let asked = |args: &[&str]| {
        let mut command = binary();
        command
            .args(args)
            .env("MAINSTAY_URL", &server.address)
            .env("MAINSTAY_API_KEY", key);
        command.output().expect("the command runs")
    };
    assert_eq!(asked(&["source", "list"]).status.code(), Some(0));
    let refused = asked(&["source", "create", "x", "--scheme", "github"]);
    assert_eq!(refused.status.code(), Some(4));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("role_forbidden") && said.contains("hint:"),
        "{said}"
    );
    let revoked = server.run(&["key", "revoke", "reader", "--yes"]);
    assert_eq!(revoked.code, 0, "{}", revoked.err);
}

/// Nobody takes a backup of nothing, or hears that all is well, because they forgot to say where the data is.
fn says_where_the_data_is(server: &Server) {
    let copy = server.data().with_file_name("copy");
    for args in [
        &["backup", text(&copy)][..],
        &["migrate", "status"],
        &["doctor"],
    ] {
        let ran = alone(&[args, &["--data", text(&server.data())]].concat());
        let said = format!("{}{}", ran.out, ran.err);
        if server.is_postgres() {
            assert_ne!(ran.code, 0, "{args:?}: {said}");
            assert!(said.contains("PostgreSQL"), "{args:?}: {said}");
            assert!(said.contains("--database"), "{args:?}: {said}");
        } else {
            assert_eq!(ran.code, 0, "{args:?}: {said}");
        }
    }
}

/// Every other command answers, with words for people and with JSON.
fn looks_from_all_sides(server: &Server) {
    for args in [
        &["tenant", "list"][..],
        &["user", "list"],
        &["key", "list"],
        &["source", "show", "pay"],
        &["endpoint", "show", "shop"],
        &["binding", "list"],
        &["job", "list"],
        &["job", "counts"],
        &["dead-letter", "groups"],
        &["sql", "SELECT count(*) AS n FROM event"],
        &["doctor"],
        &["migrate", "status"],
    ] {
        let people = server.run(args);
        assert_eq!(people.code, 0, "{args:?}: {}{}", people.out, people.err);
        assert!(
            !people.out.contains('\u{1b}'),
            "no colour in a pipe: {}",
            people.out
        );
        server.json(args);
    }
    let job = server.json(&["job", "list"])["items"][0]["id"].clone();
    let shown = server.run(&["job", "show", job.as_str().expect("an id")]);
    assert!(shown.out.contains("succeeded"), "{}", shown.out);
    let missing = server.run(&["source", "show", "nowhere"]);
    assert_eq!(missing.code, 3, "{}", missing.err);
    assert!(
        missing.err.contains("mainstay source list"),
        "{}",
        missing.err
    );
    let bound = server.run(&["source", "delete", "pay", "--yes"]);
    assert_eq!(bound.code, 1, "{}", bound.err);
    assert!(bound.err.contains("mainstay binding list"), "{}", bound.err);
    let wrong = server.run(&["endpoint", "update", "shop", "--timeout-ms", "1", "--json"]);
    assert_eq!(wrong.code, 2, "{}", wrong.err);
    let problem: Value = serde_json::from_str(&wrong.err).expect("a problem as JSON");
    assert_eq!(
        (&problem["code"], &problem["exit"]),
        (&json!("validation_failed"), &json!(2))
    );
}

fn a_backup_of_the_running_server_is_whole(server: &Server) {
    let file = server.file("a.backup");
    let written = server.json(&["backup", text(&file)]);
    assert!(
        written["rows"]["event"]
            .as_i64()
            .is_some_and(|rows| rows >= 1),
        "{written}"
    );
    let verified = server.run(&["restore", "--verify", text(&file)]);
    assert_eq!(verified.code, 0, "{}", verified.err);
    let twice = server.run(&["backup", text(&file)]);
    assert_ne!(twice.code, 0, "nothing is overwritten");
    let export = server.run(&["dead-letter", "export"]);
    assert_eq!(export.code, 0, "{}", export.err);
}

#[test]
fn a_data_directory_has_one_server() {
    let server = Server::sqlite();
    let second = server.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, 4, "{}", second.err);
    assert!(second.err.contains("in use"), "{}", second.err);
    let file = server.file("a.backup");
    assert_eq!(server.run(&["backup", text(&file)]).code, 0);
    let restored = server.run(&["restore", text(&file), "--force"]);
    assert_eq!(restored.code, 4, "{}", restored.err);
}

#[test]
fn a_restored_backup_serves_what_was_backed_up() {
    let mut server = Server::sqlite();
    server.json(&["source", "create", "hub", "--scheme", "github"]);
    let file = server.file("a.backup");
    assert_eq!(server.run(&["backup", text(&file)]).code, 0);
    server.json(&["source", "create", "later", "--scheme", "github"]);
    assert_eq!(server.stop(), Some(0));
    let refused = server.run(&["restore", text(&file)]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains("--force"), "{}", refused.err);
    let restored = server.run(&["restore", text(&file), "--force"]);
    assert_eq!(restored.code, 0, "{}", restored.err);
    server.start_again();
    let names = server.json(&["source", "list"]).to_string();
    assert!(names.contains("hub") && !names.contains("later"), "{names}");
}

#[test]
fn what_is_signed_is_verified_and_what_was_changed_is_explained() {
    let signed = alone(&[
        "send",
        "https://shop.example.test/hook",
        "--scheme",
        "stripe",
        "--secret",
        SECRET,
        "--dry-run",
    ]);
    assert_eq!(signed.code, 0, "{}", signed.err);
    let verify = [
        "verify",
        "--scheme",
        "stripe",
        "--secret",
        SECRET,
        "--request",
        "-",
    ];
    let right = alone_with(&verify, signed.out.as_bytes());
    assert_eq!(right.code, 0, "{}{}", right.out, right.err);
    assert!(right.out.contains("accepted"), "{}", right.out);
    let changed = signed.out.replace("2000", "9000");
    let wrong = alone_with(&verify, changed.as_bytes());
    assert_eq!(wrong.code, 6, "{}", wrong.out);
    assert!(wrong.out.contains("signature_wrong"), "{}", wrong.out);
    let mut later = verify.to_vec();
    later.extend(["--at", "2038-01-01T00:00:00Z"]);
    let late = alone_with(&later, signed.out.as_bytes());
    assert_eq!(late.code, 6, "{}", late.out);
    assert!(late.out.contains("timestamp_too_old"), "{}", late.out);
}

#[test]
fn doctor_says_what_is_wrong_and_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let folder = tempfile::tempdir().expect("a directory");
    let mut command = binary();
    command
        .args(["doctor", "--data", text(folder.path())])
        .env(
            "MAINSTAY_LISTEN",
            taken.local_addr().expect("bound").to_string(),
        )
        .env("MAINSTAY_OUTBOUND_ALLOW", "169.254.0.0/16");
    let ran = command.output().expect("the command runs");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(ran.status.code(), Some(1), "{said}");
    for part in [
        "cannot be listened on",
        "--listen",
        "metadata service",
        "outbound.allow",
        "something is wrong",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
}

#[test]
fn mistakes_are_told_apart_by_exit_code() {
    let table: [(&[&str], i32); 8] = [
        (&[], 0),
        (&["--version"], 0),
        (&["event", "liist"], 2),
        (&["send", "https://x.example.test/", "--secret", "a"], 2),
        (&["event", "list", "--data", "/nonexistent"], 5),
        (
            &[
                "event",
                "list",
                "--url",
                "http://127.0.0.1:9",
                "--api-key",
                "msk_x",
            ],
            5,
        ),
        (
            &[
                "event",
                "list",
                "--url",
                "http://127.0.0.1:9",
                "--data",
                "/nonexistent",
            ],
            4,
        ),
        (&["migrate", "status", "--data", "/nonexistent"], 1),
    ];
    for (args, code) in table {
        let ran = alone(args);
        assert_eq!(ran.code, code, "{args:?}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn the_program_alone_says_what_it_can_do() {
    let help = alone(&[]);
    for group in [
        "Server:",
        "Coming in:",
        "Going out:",
        "What happens:",
        "Access:",
    ] {
        assert!(help.out.contains(group), "{}", help.out);
    }
    assert!(help.err.is_empty(), "{}", help.err);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    use std::{io::Read, process::Stdio};
    let mut command = binary();
    let mut child = command
        .arg("docs")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("it is piped");
    stderr.read_to_string(&mut said).expect("text");
    assert_eq!(
        (child.wait().expect("it ends").code(), said.as_str()),
        (Some(0), "")
    );
}
