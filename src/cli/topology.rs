//! `callvault topology`: what others have to make where a worker may not declare it.

use clap::Args;

use super::Error;
use crate::broker::{Admin, Blueprint};
use crate::config::Config;

/// The form in which it is printed.
#[derive(Debug, Args)]
pub struct Topology {
    /// Print JSON for `rabbitmqctl import_definitions`, which every RabbitMQ reads.
    #[arg(long, conflicts_with = "v2")]
    definitions: bool,
    /// Commands for rabbitmqadmin v2, which comes with RabbitMQ 4.3; else they are for the one that
    /// the management plugin hands out up to 4.2.
    #[arg(long)]
    v2: bool,
}

/// # Errors
/// The URL of the broker, which names the virtual host, cannot be read.
pub fn run(config: &Config, asked: &Topology) -> Result<String, Error> {
    let blueprint = Blueprint::new(&config.broker, &config.retry.delays).map_err(Error::Setup)?;
    if asked.definitions {
        return Ok(format!("{:#}\n", blueprint.definitions()));
    }
    let admin = if asked.v2 { Admin::V2 } else { Admin::V1 };
    let lines = blueprint.commands(admin).into_iter().map(|command| format!("{command}\n"));
    Ok(lines.collect())
}
