//! `mainstay serve`: runs the server. Here are its flags; what it does is in `crate::serve`.

use clap::Args;
use mainstay_store::SetupError;

use super::{
    Context,
    failure::{Exit, Failure},
};
use crate::config::Layer;

/// Flags of the server. Everything else is configured in the file or by variables.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen; port 0 lets the system choose [default: 127.0.0.1:8420]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// The URL of the database's owner: then `mainstay migrate up` migrates, and the server does not
    #[arg(long, value_name = "URL")]
    database_migrate: Option<String>,
    /// How people and providers reach this server
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// The certificate chain, as a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<std::path::PathBuf>,
    /// The certificate's key, as a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<std::path::PathBuf>,
    /// A range of addresses that requests to endpoints may go to although it is not public
    #[arg(long, value_name = "CIDR")]
    outbound_allow: Vec<String>,
    /// Certificate authorities that endpoints are trusted by beside the system's, as a PEM file
    #[arg(long, value_name = "FILE")]
    outbound_ca_file: Option<std::path::PathBuf>,
    /// A proxy whose X-Forwarded-For is believed
    #[arg(long, value_name = "CIDR")]
    trusted_proxy: Vec<String>,
    /// How logs are written
    #[arg(long, value_parser = ["text", "json"])]
    log: Option<String>,
    /// Say in the dashboard that this is a demo
    #[arg(long, hide = true)]
    demo: bool,
}

impl ServeArgs {
    fn layer(self) -> Layer {
        let given = |list: Vec<String>| (!list.is_empty()).then_some(list);
        let mut layer = Layer {
            listen: self.listen,
            database_migrate: self.database_migrate,
            public_url: self.public_url,
            trusted_proxies: given(self.trusted_proxy),
            log: self.log,
            demo: self.demo.then_some(true),
            ..Layer::default()
        };
        layer.tls.cert = self.tls_cert;
        layer.tls.key = self.tls_key;
        layer.outbound.allow = given(self.outbound_allow);
        layer.outbound.ca_file = self.outbound_ca_file;
        layer
    }
}

pub(super) async fn run(context: &Context, args: ServeArgs) -> Result<(), Failure> {
    let config = context.config(args.layer())?;
    crate::serve::serve(config).await.map_err(ended)
}

/// What the store says about itself comes with a hint of its own.
fn ended(error: anyhow::Error) -> Failure {
    match error.downcast::<SetupError>() {
        Ok(error) => error.into(),
        Err(error) => Failure::new(Exit::Failed, "the server ended").detail(format!("{error:#}")),
    }
}

pub(super) fn openapi(context: &Context) -> Result<(), Failure> {
    context.out.text(&crate::api::openapi_json())
}
