//! GitHub: pushes, pull requests and issues. The delivery's id and the event's name travel in headers.

use serde_json::{Value, json};

use super::{Message, Provider, text};
use crate::{
    dice::Dice,
    story::{Told, rfc3339},
};

pub(super) fn message(dice: &Dice, now: i64) -> Message {
    let at = rfc3339(now - dice.range(0, 30) as i64);
    let (event, kind, mut body) = match dice.range(0, 3) {
        0 => ("push", "push", push(dice, &at)),
        1 => {
            let (action, kind) = *dice.pick(&[
                ("opened", "pull_request.opened"),
                ("synchronize", "pull_request.synchronize"),
                ("closed", "pull_request.closed"),
            ]);
            ("pull_request", kind, pull_request(dice, action, &at))
        }
        _ => {
            let (action, kind) = if dice.chance(0.03) {
                ("transferred", "issues.transferred")
            } else {
                *dice.pick(&[
                    ("opened", "issues.opened"),
                    ("labeled", "issues.labeled"),
                    ("closed", "issues.closed"),
                ])
            };
            ("issues", kind, issue(dice, action, &at))
        }
    };
    let login = *dice.pick(&["keel", "rudder", "bosun", "purser"]);
    body["repository"] = repository(dice);
    body["sender"] = user(login);
    let delivery = dice.uuid();
    let mut message = Message::new(Provider::Github, kind, delivery.clone(), &body);
    message.headers = headers(&delivery);
    message.headers.push(("x-github-event", event.to_owned()));
    message.headers.push(("x-github-delivery", delivery));
    message
}

/// Those that are no part of what says which event it is.
fn headers(delivery: &str) -> Vec<(&'static str, String)> {
    vec![
        (
            "user-agent",
            format!("GitHub-Hookshot/{}", body_digits(delivery)),
        ),
        ("x-github-hook-id", "459120377".to_owned()),
        (
            "x-github-hook-installation-target-type",
            "repository".to_owned(),
        ),
    ]
}

/// An issue from its opening to its end.
pub(crate) fn story(dice: &Dice, now: i64) -> Vec<Told> {
    let mut body = issue(dice, "opened", &rfc3339(now - 30));
    body["repository"] = repository(dice);
    body["sender"] = user("keel");
    let mut told = Vec::new();
    for (at, action) in (0..).zip(["opened", "labeled", "closed"]) {
        body["action"] = json!(action);
        body["issue"]["updated_at"] = json!(rfc3339(now - 30 + at));
        if action == "labeled" {
            body["label"] = body["issue"]["labels"][0].clone();
        }
        if action == "closed" {
            body["issue"]["state"] = json!("closed");
        }
        let delivery = dice.uuid();
        let mut one = Told::new(&format!("issues.{action}"), delivery.clone(), &body);
        one.headers = headers(&delivery);
        told.push(one);
    }
    told
}

pub(super) fn mark(payload: &Value) -> Option<String> {
    let subject = ["pull_request", "issue"]
        .iter()
        .find_map(|name| text(&payload[name]["node_id"]));
    match subject {
        Some(node) => Some(format!("{node}:{}", payload["action"].as_str()?)),
        None => text(&payload["after"]),
    }
}

fn body_digits(delivery: &str) -> String {
    delivery
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(7)
        .collect()
}

fn user(login: &str) -> Value {
    json!({
        "login": login, "id": 40_000 + login.len() * 977, "node_id": format!("U_{login}"), "type": "User",
        "url": format!("https://api.github.com/users/{login}"), "html_url": format!("https://github.com/{login}"),
        "site_admin": false,
    })
}

fn repository(dice: &Dice) -> Value {
    let name = *dice.pick(&["harbour", "tides", "charts"]);
    json!({
        "id": 700_000_000 + name.len() as u64, "node_id": format!("R_kgDO{name}"), "name": name,
        "full_name": format!("saltmarsh/{name}"), "private": true, "owner": user("saltmarsh"),
        "html_url": format!("https://github.com/saltmarsh/{name}"),
        "url": format!("https://api.github.com/repos/saltmarsh/{name}"), "default_branch": "main",
        "language": "Rust", "visibility": "private", "forks_count": 2, "open_issues_count": 7,
    })
}

fn push(dice: &Dice, at: &str) -> Value {
    let after = dice.hex(40);
    let commits: Vec<Value> = (0..dice.range(1, 4))
        .map(|number| {
            let id = if number == 0 { after.clone() } else { dice.hex(40) };
            json!({
                "id": id, "tree_id": dice.hex(40), "distinct": true, "timestamp": at,
                "message": dice.pick(&["jobs: leases are renewed earlier", "docs: the runbook names the alert",
                    "intake: refuse what is too old", "store: an index for the list"]),
                "url": format!("https://github.com/saltmarsh/harbour/commit/{id}"),
                "author": { "name": "Bo Sun", "email": "bosun@example.com", "username": "bosun" },
                "committer": { "name": "Bo Sun", "email": "bosun@example.com", "username": "bosun" },
                "added": [], "removed": [], "modified": [format!("src/part_{number}.rs")],
            })
        })
        .collect();
    json!({
        "ref": "refs/heads/main", "before": dice.hex(40), "after": after, "base_ref": null, "created": false,
        "deleted": false, "forced": false,
        "compare": format!("https://github.com/saltmarsh/harbour/compare/{}...{}", dice.hex(12), &after[..12]),
        "head_commit": commits.first(), "commits": commits,
        "pusher": { "name": "bosun", "email": "bosun@example.com" },
    })
}

fn pull_request(dice: &Dice, action: &str, at: &str) -> Value {
    let number = dice.range(1, 4_000);
    json!({
        "action": action, "number": number,
        "pull_request": {
            "id": dice.range(1_000_000_000, 2_000_000_000), "node_id": format!("PR_kwDO{}", dice.id(16)),
            "number": number, "state": if action == "closed" { "closed" } else { "open" }, "locked": false,
            "title": "Tides are computed once", "user": user("rudder"), "body": "Measured: half the time.",
            "created_at": at, "updated_at": at, "merged": action == "closed", "draft": false,
            "html_url": format!("https://github.com/saltmarsh/harbour/pull/{number}"),
            "head": { "label": "saltmarsh:tides", "ref": "tides", "sha": dice.hex(40), "user": user("saltmarsh") },
            "base": { "label": "saltmarsh:main", "ref": "main", "sha": dice.hex(40), "user": user("saltmarsh") },
            "additions": dice.range(1, 400), "deletions": dice.range(0, 200), "changed_files": dice.range(1, 20),
        },
    })
}

fn issue(dice: &Dice, action: &str, at: &str) -> Value {
    let number = dice.range(1, 4_000);
    json!({
        "action": action,
        "issue": {
            "id": dice.range(1_000_000_000, 2_000_000_000), "node_id": format!("I_kwDO{}", dice.id(16)),
            "number": number, "title": "The chart is upside down in dark mode", "user": user("purser"),
            "labels": [{ "id": 208_045_946, "name": "bug", "color": "d73a4a", "default": true }],
            "state": if action == "closed" { "closed" } else { "open" }, "locked": false, "comments": 0,
            "created_at": at, "updated_at": at, "body": "Steps: open the chart, switch the theme.",
            "html_url": format!("https://github.com/saltmarsh/harbour/issues/{number}"),
        },
    })
}
