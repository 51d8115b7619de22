//! A `ComfyUI` for the tests that start one: the stand-in as a process of its own.
//!
//! `comfyui_stand_in PORT [WAY]`, where a way is one of
//! - `ends-with N`: ends with that code, having said why;
//! - `stays`: ends with 0, and another process of it answers a second later;
//! - `occupied FILE`: cannot bind its port while there is no such file, which it makes;
//! - `silent`: says a line and never answers;
//! - `page`: answers every request with a web page;
//! - `elsewhere PORT`: listens on that port;
//! - `flood`: prints without end;
//! - `files FOLDER`: its files outlive it there;
//! - `cpu FILE`: has a CPU once there is that file.

#[path = "../tests/it/stand_in/mod.rs"]
mod stand_in;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::exit;
use std::time::Duration;

use stand_in::{Config, Device, StandIn};

/// Whoever left it behind: it does not stay for ever.
const LONGEST: Duration = Duration::from_secs(240);

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let port = words[0].parse().expect("a port");
    std::thread::spawn(|| {
        std::thread::sleep(LONGEST);
        exit(9)
    });
    println!("Import times for custom nodes:");
    println!("Starting server\n");
    let mut config = Config::cuda();
    let mut listens_on = port;
    match words[1..] {
        ["ends-with", code] => {
            eprintln!("ModuleNotFoundError: No module named 'torch'");
            println!("Press any key to continue . . .");
            exit(code.parse().expect("a code"))
        }
        ["stays"] => {
            let own = std::env::current_exe()?;
            std::process::Command::new(own).args([&arguments[0], "late"]).spawn()?;
            return Ok(());
        }
        ["occupied", file] if !std::path::Path::new(file).exists() => {
            std::fs::write(file, "")?;
            eprintln!("OSError: [Errno 98] error while attempting to bind on address");
            exit(1)
        }
        ["late"] => std::thread::sleep(Duration::from_secs(1)),
        ["silent"] => {
            println!("Loading a model");
            std::thread::sleep(LONGEST);
        }
        ["page"] => return answer_with_a_page(port),
        ["elsewhere", other] => listens_on = other.parse().expect("a port"),
        ["files", folder] => config.files = Some(folder.into()),
        ["cpu", file] if std::path::Path::new(file).exists() => {
            config.devices = vec![Device::cpu()];
        }
        _ => {}
    }
    let _server = match StandIn::at(listens_on, config) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("OSError: [Errno 98] error while attempting to bind on address: {error}");
            exit(1)
        }
    };
    println!("To see the GUI go to: http://127.0.0.1:{listens_on}");
    if words[1..] == ["flood"] {
        loop {
            println!("{}", "x".repeat(1000));
        }
    }
    std::thread::sleep(LONGEST);
    Ok(())
}

fn answer_with_a_page(port: u16) -> std::io::Result<()> {
    let page = "<html><title>Jellyfin</title></html>";
    for connection in TcpListener::bind(("127.0.0.1", port))?.incoming() {
        let mut connection = connection?;
        let _ = connection.read(&mut [0; 4096])?;
        let length = page.len();
        write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{page}")?;
    }
    Ok(())
}
