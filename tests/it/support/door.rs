//! The door: where a token may stand, and what is told of a refusal, to whom.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};

use super::{Answer, Forge, Setup, TestServer, Upgrade, admin, b64, within};

/// Where a token stands in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In the URL, as the document has it.
    Path,
    /// Among the subprotocols.
    Protocol,
    /// In `Authorization`.
    Header,
}

impl Way {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Path, Self::Protocol, Self::Header];

    /// A good request with `token` in this place.
    pub fn upgrade(self, token: &str) -> Upgrade {
        let bare = Upgrade::new("/teaching/imserver");
        match self {
            Self::Path => Upgrade::token(token),
            Self::Protocol => {
                bare.and("Sec-WebSocket-Protocol", &format!("im.v2, im.bearer.{token}"))
            }
            Self::Header => bare.and("Authorization", &format!("Bearer {token}")),
        }
    }
}

/// All headers of every 401, in their order; only `date` stands beside them.
pub const UNAUTHORIZED: [(&str, &str); 7] = [
    ("content-type", "application/json"),
    ("connection", "close"),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("www-authenticate", "Bearer error=\"invalid_token\""),
    ("content-length", "61"),
];

/// Fails unless `answer` is the one refusal that there is.
pub fn refused(answer: &Answer, what: &str) {
    let headers: Vec<(&str, &str)> = answer
        .headers
        .iter()
        .filter(|(name, _)| name != "date")
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let body = r#"{"code":"unauthorized","message":"a valid token is required"}"#;
    assert_eq!(
        (answer.status, headers.as_slice(), answer.body.as_str()),
        (401, &UNAUTHORIZED[..], body),
        "{what}"
    );
}

/// Fails unless `answer` is a refusal in the form that all of them have.
pub fn is_refusal(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{what}: {answer:?}");
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["code", "message"], "{what}");
    let mut expected = vec![
        ("content-type", true),
        ("connection", true),
        ("cache-control", true),
        ("referrer-policy", true),
        ("x-content-type-options", true),
        ("content-length", true),
        ("date", true),
        ("www-authenticate", status == 401),
        ("allow", status == 405),
        ("upgrade", status == 426),
        ("sec-websocket-version", status == 426),
        ("retry-after", status == 429 || status == 503),
    ];
    expected.retain(|(_, there)| *there);
    let mut expected: Vec<&str> = expected.into_iter().map(|(name, _)| name).collect();
    let mut names: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    expected.sort_unstable();
    names.sort_unstable();
    assert_eq!(names, expected, "{what}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{what}");
    let connection = match status {
        426 => "close, upgrade",
        _ => "close",
    };
    assert_eq!(answer.header("connection"), Some(connection), "{what}");
    let all = format!("{answer:?}");
    assert!(!all.contains("eyJ") && !all.contains("teaching"), "{what}: {all}");
}

/// A server at whose door tokens are tried, and the books that it must keep of it.
#[derive(Debug)]
pub struct Door {
    /// The server.
    pub server: TestServer,
    /// What was refused, and why, in order.
    refusals: Vec<(String, &'static str)>,
    tokens: Vec<String>,
    opened: Option<(Way, String)>,
}

impl Door {
    /// A server with the default rules that logs all it can.
    pub async fn new() -> Self {
        Self::with(Setup::new()).await
    }

    /// The same with other rules.
    pub async fn with(setup: Setup) -> Self {
        let setup = setup
            .set("log.level", "\"trace\"")
            // Connections of the case before may not be gone yet.
            .set("limits.connections_per_user", "1000");
        Self { server: setup.start().await, refusals: Vec::new(), tokens: Vec::new(), opened: None }
    }

    /// Fails unless `token` opens a connection.
    pub async fn opens(&mut self, way: Way, token: &str, what: &str) {
        self.tokens.push(token.to_owned());
        let answer = way.upgrade(token).send(&self.server).await;
        assert_eq!(answer.status, 101, "{way:?}: {what}: {}", answer.body);
        self.opened.get_or_insert_with(|| (way, token.to_owned()));
    }

    /// Fails unless `token` is refused, without a word of `reason` to the client.
    pub async fn refuses(&mut self, way: Way, token: &str, reason: &'static str, what: &str) {
        self.tokens.push(token.to_owned());
        self.refusals.push((format!("{way:?}: {what}"), reason));
        let answer = way.upgrade(token).send(&self.server).await;
        refused(&answer, &format!("{way:?}: {what}"));
    }

    /// A token that the test itself saw refused, for `reason`.
    pub fn noted(&mut self, reason: &'static str, what: &str) {
        self.refusals.push((what.to_owned(), reason));
    }

    /// Fails unless the log and the metric hold the true reasons, and neither of them
    /// anything of a token or of the key.
    pub async fn keeps_its_books(self) {
        let times = self.refusals.len();
        let lines = self.server.logged_times("token refused", times).await;
        let mut reasons = BTreeMap::<String, usize>::new();
        for ((what, reason), line) in self.refusals.iter().zip(&lines) {
            assert_eq!(line["reason"], *reason, "{what}");
            *reasons.entry((*reason).to_owned()).or_default() += 1;
        }
        let page = admin(&self.server, "/metrics").await.body;
        assert_eq!(counted(&page, "refused"), reasons);
        let log = self.server.log();
        let mut secrets = vec![b64(Forge::secret())];
        for token in &self.tokens {
            // A header is no secret, and shorter pieces are in any text.
            let parts = token.split('.').skip(1).filter(|part| part.len() >= 16);
            secrets.extend(parts.map(|part| part.chars().take(32).collect()));
        }
        for secret in secrets {
            assert!(!log.contains(&secret), "{secret} is in the log");
            assert!(!page.contains(&secret), "{secret} is in the metrics");
        }
        let (way, token) = self.opened.unwrap_or((Way::Path, Forge::token(1)));
        assert_eq!(way.upgrade(&token).send(&self.server).await.status, 101);
    }
}

/// A metric of `/metrics` by its reasons.
pub fn counted(page: &str, metric: &str) -> BTreeMap<String, usize> {
    let start = format!("imserver_{metric}_total{{reason=\"");
    page.lines()
        .filter_map(|line| line.strip_prefix(&start)?.split_once("\"} "))
        .map(|(reason, count)| (reason.to_owned(), count.parse().unwrap()))
        .collect()
}

/// A TCP connection to the server from another of this machine's own addresses.
pub async fn from_address(server: &TestServer, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let address: IpAddr = address.parse().unwrap();
    socket.bind(SocketAddr::new(address, 0)).unwrap();
    within("a connection", socket.connect(server.address)).await.unwrap()
}
