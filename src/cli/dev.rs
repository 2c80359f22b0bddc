//! `imserver dev`: from nothing to two people who chat, in one command.

use super::cert::{self, exists};
use super::{ConfigFile, Failure, print, serve, shell, wiring};
use crate::auth::{KeySet, Request};
use crate::config::{self, Config, Override};
use crate::ids::UserId;
use crate::secret_file;
use crate::server::Source;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where everything lies where nobody says.
const FOLDER: &str = "imserver-dev";

/// How long the printed links work.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Whom links are printed for, and with whom each begins to talk.
const USERS: [(u64, &str, u64); 2] = [(1, "小明", 2), (2, "小红", 1)];

const CONFIG: &str = "\
# Made by `imserver dev`, for development only. `imserver init` writes a file that
# explains every setting; here are those that differ from their defaults.

[server]
listen = \"127.0.0.1:8443\"
origins = [\"https://localhost:8443\", \"https://127.0.0.1:8443\"]

[limits]
# As many as every machine has open files for.
connections = 500
";

/// What `dev` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Everything lies in one folder: delete it to start afresh. With --config it is where that file says.

Examples:
  imserver dev
  imserver dev --listen 127.0.0.1:9000
  imserver dev --listen 192.168.1.20:8443   this machine's address: for phones beside it, too
  imserver dev --dir /tmp/chat
  imserver dev --config chat.toml           with this file, made where there is none")]
pub(super) struct Args {
    /// Where certificate, keys, configuration and messages are kept [default: imserver-dev]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Where to listen for this run, in place of server.listen
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

pub(super) fn run(args: &Args, named: &ConfigFile) -> Result<(), Failure> {
    let file = match (&named.named, &args.dir) {
        (Some(_), Some(_)) => {
            return Err(Failure::usage(
                "give either --config or --dir, whose configuration is its own",
            ));
        }
        (Some(file), None) => file.clone(),
        (None, dir) => dir.as_deref().unwrap_or(Path::new(FOLDER)).join(super::CONFIG),
    };
    make(&file, named.named.is_none())?;
    let file = ConfigFile { named: Some(file) };
    let config = configure(args, &file)?;
    let ip = config.server.listen.ip();
    let names = if ip.is_unspecified() { Vec::new() } else { vec![ip.to_string()] };
    cert::complete(&config.tls, &names)?;
    if !exists(&config.auth.keys)? {
        wiring::make_key_set(&config.auth.keys)?;
    }
    let banner = Banner::new(&config, &file)?;
    // Nobody to read it is no reason to stop serving.
    let (path, listen) = (file.path().to_owned(), config.server.listen);
    let source = Source::new(file.path(), move || read(&path, Some(listen)));
    serve::start(config, source, |address| drop(print(banner.text(address))))
}

/// The configuration that `imserver dev` has made where the command is given, if it has.
pub(super) fn made_here() -> Option<PathBuf> {
    let file = Path::new(FOLDER).join(super::CONFIG);
    file.exists().then_some(file)
}

/// Makes `config` where there is none, and its folder. One that is there already, and is not
/// `dev`'s own, may hold what belongs into a repository.
fn make(config: &Path, own: bool) -> Result<(), Failure> {
    let cannot =
        |path: &Path, e| Failure::failed(format!("{} cannot be made: {e}", path.display()));
    let folder = folder_of(config);
    let own = own || !exists(folder)?;
    secret_file::create_folder(folder).map_err(|e| cannot(folder, e))?;
    // Private keys and messages lie below: nothing of it belongs into a repository.
    let ignore = own.then(|| (folder.join(".gitignore"), "*\n"));
    for (path, text) in ignore.into_iter().chain([(config.to_owned(), CONFIG)]) {
        if !exists(&path)? {
            secret_file::create(&path, text.as_bytes()).map_err(|e| cannot(&path, e))?;
        }
    }
    Ok(())
}

fn folder_of(config: &Path) -> &Path {
    match config.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Reads the configuration, and makes sure that its addresses can be had.
fn configure(args: &Args, file: &ConfigFile) -> Result<Config, Failure> {
    let load = |listen| read(file.path(), listen).map_err(|error| Failure::config(&error, file));
    let config = load(args.listen)?;
    // Told now, before keys are made and a page of output scrolls by.
    let listen = free(config.server.listen, "--listen ADDRESS:PORT")?;
    free(config.server.admin_listen, "the variable IMSERVER_SERVER__ADMIN_LISTEN")?;
    load(Some(listen))
}

/// Reads what `file` says, with the listener of this run and the pages from there let in.
fn read(file: &Path, listen: Option<SocketAddr>) -> Result<Config, config::Error> {
    let option = |address: SocketAddr| Override {
        name: "--listen".to_owned(),
        key: "server.listen".to_owned(),
        text: address.to_string(),
    };
    let mut config = Config::load_with(file, listen.map(option).into_iter().collect())?;
    for host in hosts(config.server.listen.ip()) {
        let origin = format!("https://{host}:{}", config.server.listen.port());
        if !config.server.origins.contains(&origin) {
            config.server.origins.push(origin);
        }
    }
    Ok(config)
}

/// Makes sure that `address` can be listened on; port 0 becomes a free one.
fn free(address: SocketAddr, key: &str) -> Result<SocketAddr, Failure> {
    TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .map_err(|e| serve::cannot_listen(key, address, &e))
}

/// The hosts under which a browser on this machine reaches `ip`, the best first.
fn hosts(ip: IpAddr) -> Vec<String> {
    let mut hosts = Vec::new();
    if ip.is_loopback() || ip.is_unspecified() {
        hosts.push("localhost".to_owned());
        hosts.push("127.0.0.1".to_owned());
    }
    if !ip.is_unspecified() && ip != IpAddr::from([127, 0, 0, 1]) {
        hosts.push(match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        });
    }
    hosts
}

/// An address as a browser on this machine writes it.
fn place(address: SocketAddr) -> String {
    let host = hosts(address.ip()).into_iter().next().unwrap_or_default();
    format!("{host}:{}", address.port())
}

/// What is printed once clients can connect.
struct Banner {
    file: PathBuf,
    option: String,
    chat_page: bool,
    users: Vec<DevUser>,
    admin: Option<DevAdmin>,
}

/// Where the service is administered, and what opens it.
struct DevAdmin {
    address: SocketAddr,
    token: String,
}

/// One of the users that links are printed for.
struct DevUser {
    id: u64,
    name: &'static str,
    peer: u64,
    token: String,
}

impl Banner {
    fn new(config: &Config, file: &ConfigFile) -> Result<Self, Failure> {
        let lifetime = A_DAY.min(config.auth.max_lifetime);
        let keys = KeySet::load(&config.auth.keys)?;
        let issue = |user, name, admin| {
            let request = Request { user, name, picture: None, ttl: lifetime, admin };
            wiring::issue(config, &keys, &request).map(|issued| issued.token)
        };
        let mut users = Vec::new();
        let mut admin = None;
        let address = config.server.admin_listen;
        for (id, name, peer) in USERS {
            let Some(user) = UserId::new(id) else {
                continue;
            };
            let token = issue(user, Some(name.to_owned()), false)?;
            users.push(DevUser { id, name, peer, token });
            // One is enough; and nobody knows which port 0 will be.
            if admin.is_none() && address.port() != 0 {
                admin = Some(DevAdmin { address, token: issue(user, None, true)? });
            }
        }
        Ok(Self {
            file: file.path().to_owned(),
            option: file.option(),
            chat_page: config.server.chat_page,
            users,
            admin,
        })
    }

    fn text(&self, address: SocketAddr) -> String {
        let at = place(address);
        let mut text = format!(
            "\nimserver is running, FOR DEVELOPMENT ONLY: nobody vouches for its certificate, and\n\
             whoever sees these links can write as these users and administer the service. All it\n\
             keeps is in {}/, unless {} says otherwise.\n",
            folder_of(&self.file).display(),
            self.file.display()
        );
        for DevUser { id, name, peer, token } in &self.users {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "\n{name} (user {id})\n");
            if self.chat_page {
                let _ = writeln!(text, "  page:   https://{at}/#token={token}&to={peer}");
            }
            let _ = writeln!(text, "  wscat:  wscat -n -c 'wss://{at}/teaching/imserver/{token}'");
        }
        if let Some(DevAdmin { address, token }) = &self.admin {
            let at = place(*address);
            let _ = write!(text, "\nAdministration\n  page:   https://{at}/#token={token}\n");
        }
        if self.chat_page {
            text.push_str(
                "\nOpen each page in a browser of its own (or one of them in a private window). The\n\
                 browser warns once, because this machine made the certificate itself. Chrome, Edge:\n\
                 \"Advanced\", \"Proceed\". Firefox: \"Advanced\", \"Accept the Risk and Continue\".\n\
                 Safari: \"Show Details\", \"visit this website\".\n",
            );
        }
        let program = std::env::args_os().next().unwrap_or_else(|| "imserver".into());
        let _ = write!(
            text,
            "\nA token for another user:\n  {}{} token issue --sub 3 --name 小刚 --ttl 1d\n\n\
             The links work for a day; starting again prints new ones. Ctrl-C stops.",
            shell(Path::new(&program)),
            self.option
        );
        text
    }
}
