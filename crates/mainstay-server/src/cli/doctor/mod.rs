//! `mainstay doctor`: looks for what is wrong with an installation before it matters, and says what to do.

mod audit;
mod checks;
mod nodes;
mod report;
mod spool;
mod vault;

use super::{
    Context,
    failure::{Exit, Failure},
    progress::Spinner,
};
use crate::config::Layer;
use report::Report;

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    let config = context.config(Layer::default())?;
    let mut report = Report::default();
    let spinner = Spinner::start(&context.out, "looking");
    checks::data_directory(&mut report, &config);
    spool::check(&mut report, &config);
    let running = checks::server(&mut report, context, &config).await;
    nodes::check(&mut report, context, running).await;
    audit::check(&mut report, context, running).await;
    vault::check(&mut report, context, &config, running).await;
    spinner.say("examining the database; a large one takes a while");
    checks::database(&mut report, &config).await;
    checks::tls(&mut report, &config);
    checks::listen(&mut report, &config, running).await;
    checks::outbound(&mut report, &config).await;
    drop(spinner);
    context.show(&report.to_json(), |out| report.print(out))?;
    if report.failed() {
        return Err(Failure::said(Exit::Failed));
    }
    Ok(())
}
