//! Log lines: which events are shown, and in which form.
//!
//! The filter is the usual `tracing` directive list (`info`, `info,storage=debug`). The environment variable
//! `ELASTICKV_LOG`, when set, wins over the configuration: somebody who looks for a fault does not edit files first.
//! Lines go to standard error, so that what a command-line tool prints on standard output stays clean.

use std::io;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Name of the environment variable that overrides [`LogsConfig::filter`].
pub const FILTER_VARIABLE: &str = "ELASTICKV_LOG";

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line an event.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// The `[logs]` table of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogsConfig {
    /// `tracing` directives: `info`, or `info,storage=debug`.
    pub filter: String,
    /// `human` or `json`.
    pub format: LogFormat,
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::default() }
    }
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The directive list does not parse.
    #[error("log filter {filter:?} is not valid: {source}")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Somebody has set up `tracing` in this process before.
    #[error("log lines are already set up in this process: {0}")]
    AlreadySet(String),
}

/// Sends `tracing` events of this process to standard error. Call it once, from `main`.
pub fn init_tracing(config: &LogsConfig) -> Result<(), LogsError> {
    let filter = choose_filter(config, std::env::var(FILTER_VARIABLE).ok().as_deref())?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match config.format {
        LogFormat::Human => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| LogsError::AlreadySet(error.to_string()))
}

/// The variable when it is set and not empty, else the configuration.
fn choose_filter(config: &LogsConfig, variable: Option<&str>) -> Result<EnvFilter, LogsError> {
    let directives = variable.filter(|value| !value.trim().is_empty()).unwrap_or(&config.filter);
    EnvFilter::builder().parse(directives).map_err(|source| LogsError::Filter { filter: directives.to_owned(), source })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_wins_over_the_configuration() {
        let config = LogsConfig { filter: "warn".into(), format: LogFormat::Human };
        assert_eq!(choose_filter(&config, Some("storage=debug")).unwrap().to_string(), "storage=debug");
        assert_eq!(choose_filter(&config, Some(" ")).unwrap().to_string(), "warn");
        assert_eq!(choose_filter(&config, None).unwrap().to_string(), "warn");
    }

    #[test]
    fn a_filter_that_does_not_parse_is_named() {
        let config = LogsConfig { filter: "storage=loud".into(), ..LogsConfig::default() };
        let error = choose_filter(&config, None).unwrap_err();
        assert!(error.to_string().contains("storage=loud"), "{error}");
    }
}
