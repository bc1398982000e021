//! Calls a gRPC method by reflection, with the part of grpcurl's command line that the documentation uses:
//!
//! ```text
//! grpc-call -plaintext [-d JSON] host:port list
//! grpc-call -plaintext [-d JSON] host:port package.Service/Method
//! ```
//!
//! The tests put it in grpcurl's place on machines without grpcurl, so that the documented examples run everywhere.

use std::process::ExitCode;

use tests::reflect::{ReflectError, Reflecting};

struct CommandLine {
    data: String,
    address: String,
    method: String,
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<CommandLine, String> {
    let (mut data, mut plaintext, mut words) = ("{}".to_owned(), false, Vec::new());
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-plaintext" => plaintext = true,
            "-d" => data = arguments.next().ok_or("-d needs the request in JSON")?,
            option if option.starts_with('-') => return Err(format!("option {option} is not known here")),
            _ => words.push(argument),
        }
    }
    if !plaintext {
        return Err("only -plaintext is spoken here".to_owned());
    }
    let [address, method] = <[String; 2]>::try_from(words).map_err(|_| "wanted: host:port package.Service/Method")?;
    Ok(CommandLine { data, address, method })
}

async fn run(line: &CommandLine) -> Result<String, ReflectError> {
    let client = Reflecting::connect(&line.address).await?;
    if line.method == "list" {
        return Ok(client.services().await?.join("\n"));
    }
    let request = serde_json::from_str(&line.data)
        .map_err(|error| ReflectError::Descriptor(format!("the request is not JSON: {error}")))?;
    Ok(format!("{:#}", client.call(&line.method, &request).await?))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match parse(std::env::args().skip(1)) {
        Ok(line) => run(&line).await.map_err(|error| error.to_string()),
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("grpc-call: {problem}");
            ExitCode::FAILURE
        }
    }
}
