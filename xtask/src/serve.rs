//! `cargo xtask serve`, and the server behind the demo and the browser tests: static files, loopback only, strict headers.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::http::{HeaderName, HeaderValue};
use axum::serve::ListenerExt;
use clap::Args;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

#[derive(Args)]
pub struct Options {
    /// The folder to serve
    folder: PathBuf,
    #[command(flatten)]
    address: AddressOptions,
}

#[derive(Args)]
pub struct AddressOptions {
    /// The port; without it, the first free one from 8080 on
    #[arg(long)]
    port: Option<u16>,
    /// Send COOP and COEP, which give the page SharedArrayBuffer and so threads
    #[arg(long)]
    pub isolated: bool,
}

pub fn run(options: &Options) -> Result<()> {
    Server::start(&options.folder, &options.address)?.wait()
}

/// The first port that is tried where none is asked for.
const FIRST_PORT: u16 = 8080;

/// Nothing but the server's own files runs or loads; `wasm-unsafe-eval` permits compiling WebAssembly and no JavaScript.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; \
    connect-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(&str, &str); 4] = [
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    // A browser may keep a file, but asks each time whether it changed.
    ("cache-control", "no-cache"),
];

const ISOLATION_HEADERS: [(&str, &str); 2] =
    [("cross-origin-opener-policy", "same-origin"), ("cross-origin-embedder-policy", "require-corp")];

/// A running server; it ends with the program.
pub struct Server {
    /// As in `http://localhost:8080`.
    pub address: String,
    thread: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Serves `folder` on a thread of its own and prints the address.
    pub fn start(folder: &Path, options: &AddressOptions) -> Result<Self> {
        ensure!(folder.is_dir(), "{} is not a folder", folder.display());
        let listeners = match options.port {
            Some(port) => bind(port).with_context(|| format!("port {port} could not be opened"))?,
            None => bind_first_free()?,
        };
        let address = format!("http://localhost:{}", listeners[0].local_addr()?.port());
        println!("Serving {} at {address}", folder.display());
        let router = router(folder, options.isolated);
        let thread = std::thread::spawn(move || answer(listeners, router));
        Ok(Self { address, thread })
    }

    /// As [`Server::start`], on any free port.
    pub fn start_anywhere(folder: &Path) -> Result<Self> {
        Self::start(folder, &AddressOptions { port: Some(0), isolated: false })
    }

    /// Serves until the program is ended.
    pub fn wait(self) -> Result<()> {
        let result = self.thread.join().expect("the server's thread does not panic");
        result.context("the server failed")
    }
}

fn bind_first_free() -> Result<Vec<TcpListener>> {
    for port in FIRST_PORT..FIRST_PORT + 100 {
        match bind(port) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            result => return result.with_context(|| format!("port {port} could not be opened")),
        }
    }
    anyhow::bail!("no port from {FIRST_PORT} to {} is free; choose one with --port", FIRST_PORT + 99)
}

/// Opens `port` on the IPv4 loopback address and, where the machine has one, on that of IPv6: `localhost` may mean either.
fn bind(port: u16) -> std::io::Result<Vec<TcpListener>> {
    let first = TcpListener::bind((IpAddr::from(Ipv4Addr::LOCALHOST), port))?;
    let port = first.local_addr()?.port();
    match TcpListener::bind((IpAddr::from(Ipv6Addr::LOCALHOST), port)) {
        Ok(second) => Ok(vec![first, second]),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(error),
        Err(_) => Ok(vec![first]),
    }
}

fn router(folder: &Path, isolated: bool) -> Router {
    let mut router = Router::new().fallback_service(ServeDir::new(folder));
    let isolation: &[_] = if isolated { &ISOLATION_HEADERS } else { &[] };
    for &(name, value) in HEADERS.iter().chain(isolation) {
        router = router
            .layer(SetResponseHeaderLayer::overriding(HeaderName::from_static(name), HeaderValue::from_static(value)));
    }
    router
}

fn answer(listeners: Vec<TcpListener>, router: Router) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for listener in listeners {
            listener.set_nonblocking(true)?;
            // Else the end of a small answer waits for the browser to acknowledge its beginning.
            let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(|stream| drop(stream.set_nodelay(true)));
            tasks.push(tokio::spawn(axum::serve(listener, router.clone()).into_future()));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::files;
    use crate::files::tests::scratch;

    /// Sends one request and returns the whole response as text.
    fn ask(server: &Server, request: &str) -> String {
        let mut stream = TcpStream::connect(server.address.trim_start_matches("http://")).expect("connected");
        write!(stream, "{}\r\nHost: localhost\r\nConnection: close\r\n\r\n", request.replace('\n', "\r\n"))
            .expect("sent");
        let mut response = Vec::new();
        stream.read_to_end(&mut response).expect("received");
        String::from_utf8_lossy(&response).into_owned()
    }

    fn site(name: &str) -> PathBuf {
        let folder = scratch(name);
        files::write_atomically(&folder.join("secret.txt"), b"secret").expect("written");
        for file in ["index.html", "a.js", "a.mjs", "a.wasm", "a.json", "a.onnx", "a.css", "a.svg"] {
            files::write_atomically(&folder.join("public").join(file), b"0123456789").expect("written");
        }
        folder
    }

    #[test]
    fn answers_as_browsers_expect() {
        struct Case {
            request: &'static str,
            contains: &'static [&'static str],
        }
        let cases = [
            Case {
                request: "GET / HTTP/1.1",
                contains: &["HTTP/1.1 200 ", "content-type: text/html", "\r\n\r\n0123456789"],
            },
            Case { request: "GET /a.js HTTP/1.1", contains: &["content-type: text/javascript"] },
            Case { request: "GET /a.mjs HTTP/1.1", contains: &["content-type: application/javascript"] },
            Case {
                request: "GET /a.wasm HTTP/1.1",
                contains: &["content-type: application/wasm", "content-length: 10"],
            },
            Case { request: "GET /a.json HTTP/1.1", contains: &["content-type: application/json"] },
            Case {
                request: "GET /a.onnx HTTP/1.1",
                contains: &["content-type: application/octet-stream", "content-length: 10"],
            },
            Case { request: "GET /a.css HTTP/1.1", contains: &["content-type: text/css"] },
            Case { request: "GET /a.svg HTTP/1.1", contains: &["content-type: image/svg+xml"] },
            Case {
                request: "GET /a.js HTTP/1.1",
                contains: &["content-security-policy: default-src 'none'; ", "cache-control: no-cache"],
            },
            Case {
                request: "GET /a.js HTTP/1.1\nRange: bytes=2-4",
                contains: &["HTTP/1.1 206 ", "content-range: bytes 2-4/10", "\r\n\r\n234"],
            },
            Case { request: "GET /a.js HTTP/1.1\nRange: bytes=20-30", contains: &["HTTP/1.1 416 "] },
            Case { request: "HEAD /a.js HTTP/1.1", contains: &["HTTP/1.1 200 ", "content-length: 10"] },
            Case { request: "POST /a.js HTTP/1.1", contains: &["HTTP/1.1 405 "] },
            Case { request: "GET /none.js HTTP/1.1", contains: &["HTTP/1.1 404 ", "content-security-policy: "] },
            Case { request: "GET /../secret.txt HTTP/1.1", contains: &["HTTP/1.1 404 "] },
            Case { request: "GET /%2e%2e/secret.txt HTTP/1.1", contains: &["HTTP/1.1 404 "] },
            Case { request: "GET /..%2fsecret.txt HTTP/1.1", contains: &["HTTP/1.1 404 "] },
            Case { request: "GET /..%5csecret.txt HTTP/1.1", contains: &["HTTP/1.1 404 "] },
        ];
        let folder = site("serve");
        let server = Server::start_anywhere(&folder.join("public")).expect("started");
        for case in cases {
            let response = ask(&server, case.request);
            for part in case.contains {
                assert!(response.contains(part), "{} should give {part}: {response}", case.request);
            }
            assert!(!response.contains("cross-origin-"), "{response}");
        }
        files::remove_folder(&folder).expect("removed");
    }

    #[test]
    fn an_unchanged_file_is_not_sent_again() {
        let folder = site("etag");
        let server = Server::start_anywhere(&folder.join("public")).expect("started");
        let first = ask(&server, "GET /a.js HTTP/1.1");
        let tag = first.lines().find_map(|line| line.strip_prefix("etag: ")).expect("an ETag");
        let again = ask(&server, &format!("GET /a.js HTTP/1.1\nIf-None-Match: {tag}"));
        assert!(again.starts_with("HTTP/1.1 304 ") && !again.contains("0123456789"), "{again}");
        files::remove_folder(&folder).expect("removed");
    }

    #[test]
    fn isolation_is_sent_on_request() {
        let folder = site("isolated");
        let options = AddressOptions { port: Some(0), isolated: true };
        let server = Server::start(&folder.join("public"), &options).expect("started");
        let response = ask(&server, "GET /a.js HTTP/1.1");
        for header in ["cross-origin-opener-policy: same-origin", "cross-origin-embedder-policy: require-corp"] {
            assert!(response.contains(header), "{response}");
        }
        files::remove_folder(&folder).expect("removed");
    }

    #[test]
    fn a_port_asked_for_and_taken_is_an_error_and_a_folder_that_is_none_too() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let port = taken.local_addr().expect("bound").port();
        let cases = [
            (std::env::temp_dir(), Some(port), "could not be opened"),
            (PathBuf::from("/no/such/folder"), None, "is not a folder"),
        ];
        for (folder, port, message) in cases {
            let result = Server::start(&folder, &AddressOptions { port, isolated: false });
            assert!(result.err().expect("fails").to_string().contains(message));
        }
    }
}
