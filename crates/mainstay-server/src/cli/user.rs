//! `mainstay user`: people who sign in to the dashboard.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Context,
    api::{USERS, text},
    args::{Body, Consent, PageArgs, Role, SecretArg, time_short},
    failure::Failure,
    table::{Column, Table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user; without a password they sign in by `user link`
    Add {
        /// Their e-mail address
        email: String,
        /// What they may do
        #[arg(long, value_enum, default_value = "viewer")]
        role: Role,
        /// The password: itself, @FILE, or - for standard input
        #[arg(long, value_name = "PASSWORD")]
        password: Option<SecretArg>,
    },
    /// List users
    #[command(visible_alias = "ls")]
    List(PageArgs),
    /// Remove a user and end their sessions
    #[command(visible_alias = "rm")]
    Remove {
        /// Their e-mail address or id
        user: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Make a sign-in link that works once
    Link {
        /// Their e-mail address or id
        user: String,
    },
    /// Set a new password
    Password {
        /// Their e-mail address or id
        user: String,
        /// The password: itself, @FILE, or - for standard input
        #[arg(long, value_name = "PASSWORD")]
        password: Option<SecretArg>,
    },
}

pub(super) async fn run(context: &Context, command: UserCommand) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        UserCommand::Add {
            email,
            role,
            password,
        } => {
            let mut body = Body::default();
            body.set("email", Some(email))
                .set("role", Some(role.as_str()))
                .set(
                    "password",
                    password.map(|password| password.read()).transpose()?,
                );
            let made = api.post(USERS.path, &body.value()).await?;
            context.show(&made, |out| {
                out.table(&table(std::slice::from_ref(&made)), "")
            })
        }
        UserCommand::List(page) => {
            let found = api.list(USERS.path, &[], page.cursor, page.limit).await?;
            context.list(&found, table(&found.items), "no users")
        }
        UserCommand::Remove { user, consent } => {
            let found = api.find(USERS, &user).await?;
            consent.ask(&format!("Remove the user {}?", text(&found, "/email")))?;
            api.delete(&format!("{}/{}", USERS.path, text(&found, "/id")))
                .await?;
            context.done(&format!("user {} removed", text(&found, "/email")))
        }
        UserCommand::Link { user } => {
            let id = api.find_id(USERS, &user).await?;
            let made = api
                .post(&format!("{}/{id}/link", USERS.path), &json!({}))
                .await?;
            context.show(&made, |out| out.line(&text(&made, "/url")))
        }
        UserCommand::Password { user, password } => {
            let id = api.find_id(USERS, &user).await?;
            let body = json!({ "password": password_read(password)? });
            api.patch(&format!("{}/{id}", USERS.path), &body).await?;
            context.done("password changed; their sessions have ended")
        }
    }
}

fn password_read(given: Option<SecretArg>) -> Result<String, Failure> {
    if let Some(given) = given {
        return given.read();
    }
    let terminal = console::Term::stderr();
    if !terminal.is_term() {
        return Err(Failure::usage("no password, and there is nobody to ask")
            .hint("--password - reads one from standard input"));
    }
    let ask = |question: &str| {
        terminal.write_str(question)?;
        terminal.read_secure_line()
    };
    let first = ask("Password: ").map_err(Failure::output)?;
    let again = ask("Again: ").map_err(Failure::output)?;
    if first == again {
        Ok(first)
    } else {
        Err(Failure::usage("the two passwords differ"))
    }
}

fn table(users: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Whole("ID"),
        Column::Text("EMAIL"),
        Column::Text("ROLE"),
        Column::Whole("CREATED"),
        Column::Whole("LAST SEEN"),
    ]);
    for user in users {
        table.row([
            text(user, "/id").into(),
            text(user, "/email").into(),
            text(user, "/role").into(),
            time_short(&text(user, "/created_at")).into(),
            time_short(&text(user, "/last_seen_at")).into(),
        ]);
    }
    table
}
