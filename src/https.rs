//! A small HTTPS client: one request a connection, each step within its time, nothing read
//! beyond a bound, and nobody trusted but whom the caller names.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Whom a client speaks to.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Nobody can read along on this way, and TLS is not spoken: loopback.
    Plain,
    /// The holder of exactly this certificate, whatever its name and whoever vouches for it.
    Exactly(CertificateDer<'static>),
    /// Whoever one of these vouches for, by the name in the address.
    Roots(Arc<RootCertStore>),
}

impl Trust {
    /// The authorities that this machine believes, or those that the variables
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    ///
    /// # Errors
    /// There is none; says why.
    pub fn of_this_machine() -> Result<Self, HttpsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Some collections hold one or another that is not understood.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(HttpsError::NoAuthorities(why));
        }
        Ok(Self::Roots(Arc::new(roots)))
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// TCP and TLS, each.
    pub connect: Duration,
    /// From the request to the head of the answer, and from each piece of it to the next.
    pub answer: Duration,
}

/// Why there is no answer, or no whole one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpsError {
    /// Nobody listens at the address.
    #[error("nobody listens there")]
    NobodyListens,
    /// The address is none that can be asked.
    #[error("the address cannot be asked: {0}")]
    Address(String),
    /// It cannot be reached.
    #[error("it cannot be reached: {0}")]
    Unreachable(io::Error),
    /// It is not who it should be, or speaks no TLS.
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    /// It took too long.
    #[error("it did not answer in time")]
    TooSlow,
    /// There is nobody who could vouch for it.
    #[error(
        "this machine knows no certification authority; install its ca-certificates, or name a \
         file of them in SSL_CERT_FILE{0}"
    )]
    NoAuthorities(String),
    /// What it says is no HTTP, or ends in the middle.
    #[error("the answer broke off or is no HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// It says more than was to be read.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// A request.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Its method.
    pub method: Method,
    /// What it is for: path and query, or a whole address with `https` for
    /// [`Client::fetch`].
    pub target: String,
    /// Further headers.
    pub headers: HeaderMap,
    /// Its body, which is JSON where there is one.
    pub body: Option<String>,
}

impl Ask {
    /// Asks for what is at `target`.
    pub fn get(target: impl Into<String>) -> Self {
        Self::new(Method::GET, target, None)
    }

    /// A request with this body.
    pub fn new(method: Method, target: impl Into<String>, body: Option<String>) -> Self {
        Self { method, target: target.into(), headers: HeaderMap::new(), body }
    }
}

/// A client.
#[derive(Clone, Debug)]
pub struct Client {
    /// `None`: no TLS.
    tls: Option<Arc<ClientConfig>>,
    patience: Patience,
}

impl Client {
    /// Makes a client that trusts `trust` and nobody else.
    ///
    /// # Errors
    /// rustls refuses the set-up.
    pub fn new(trust: Trust, patience: Patience) -> Result<Self, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let begun = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let mut tls = match trust {
            Trust::Plain => return Ok(Self { tls: None, patience }),
            Trust::Roots(roots) => begun.with_root_certificates(roots).with_no_client_auth(),
            Trust::Exactly(certificate) => begun
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Exactly { certificate, provider }))
                .with_no_client_auth(),
        };
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: Some(Arc::new(tls)), patience })
    }

    /// Asks whoever listens at `address`.
    ///
    /// # Errors
    /// There is no answer. One with a status of failure is an answer.
    pub async fn ask(&self, address: SocketAddr, ask: Ask) -> Result<Answer, HttpsError> {
        let host = address.to_string();
        let tcp = self.in_time(TcpStream::connect(address)).await?.map_err(unreachable)?;
        self.over(tcp, ServerName::from(address.ip()), &host, ask).await
    }

    /// Asks the host that the target of `ask` names, an `https` address.
    ///
    /// # Errors
    /// As [`Client::ask`]; [`HttpsError::Address`] when the target is no such address.
    pub async fn fetch(&self, ask: Ask) -> Result<Answer, HttpsError> {
        let wrong = |why: &str| HttpsError::Address(why.to_owned());
        let uri: Uri = ask.target.parse().map_err(|_| wrong("it is no address"))?;
        if uri.scheme_str() != Some("https") || self.tls.is_none() {
            return Err(wrong("only https is spoken"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        let host = authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare.clone()).map_err(|_| wrong("it names no host"))?;
        let connecting = TcpStream::connect((bare, authority.port_u16().unwrap_or(443)));
        let tcp = self.in_time(connecting).await?.map_err(unreachable)?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let shown = match authority.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        self.over(tcp, name, &shown, Ask { target, ..ask }).await
    }

    async fn over(
        &self,
        tcp: TcpStream,
        name: ServerName<'static>,
        host: &str,
        ask: Ask,
    ) -> Result<Answer, HttpsError> {
        // Where it fails the peer is gone already.
        let _ = tcp.set_nodelay(true);
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some(tls) => {
                let shaking = TlsConnector::from(Arc::clone(tls)).connect(name, tcp);
                Box::new(self.in_time(shaking).await?.map_err(HttpsError::Tls)?)
            }
        };
        let request = request(host, ask)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut connection = Connection(Some(Box::pin(connection)));
        let sending = connection.along(sender.send_request(request));
        let answer = timeout(self.patience.answer, sending).await;
        let answer = answer.map_err(|_| HttpsError::TooSlow)??;
        let (head, body) = answer.into_parts();
        let (status, headers) = (head.status, head.headers);
        Ok(Answer { status, headers, body, connection, patience: self.patience.answer })
    }

    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, HttpsError> {
        timeout(self.patience.connect, work).await.map_err(|_| HttpsError::TooSlow)
    }
}

fn request(host: &str, ask: Ask) -> Result<Request<Full<Bytes>>, HttpsError> {
    let Ask { method, target, headers, body } = ask;
    let mut request = Request::new(Full::from(body.clone().unwrap_or_default()));
    let wrong = |why: &dyn fmt::Display| HttpsError::Address(why.to_string());
    *request.uri_mut() = target.parse().map_err(|error| wrong(&error))?;
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    let host = HeaderValue::try_from(host).map_err(|error| wrong(&error))?;
    request.headers_mut().insert(HOST, host);
    if body.is_some() {
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
    }
    Ok(request)
}

fn unreachable(error: io::Error) -> HttpsError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => HttpsError::NobodyListens,
        _ => HttpsError::Unreachable(error),
    }
}

/// An answer whose body has not been read yet.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    body: Incoming,
    connection: Connection,
    patience: Duration,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Answer {
    /// The next piece of the body; nothing at its end.
    ///
    /// # Errors
    /// It broke off, or took too long: what came before is not all of it.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, HttpsError> {
        loop {
            let reading = self.connection.along(self.body.frame());
            let frame = timeout(self.patience, reading).await;
            let Some(frame) = frame.map_err(|_| HttpsError::TooSlow)? else {
                return Ok(None);
            };
            // What is no data is a trailer, which nobody asked for.
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// The whole body, of `max` bytes at the most.
    ///
    /// # Errors
    /// As [`Answer::piece`]; [`HttpsError::TooLong`].
    pub async fn whole(mut self, max: usize) -> Result<Vec<u8>, HttpsError> {
        let mut whole = Vec::new();
        while let Some(piece) = self.piece().await? {
            if whole.len().saturating_add(piece.len()) > max {
                return Err(HttpsError::TooLong(max));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Conversation = http1::Connection<TokioIo<Box<dyn Stream>>, Full<Bytes>>;

/// The connection, which moves only while somebody waits for something of it: no task of
/// its own outlives the answer.
struct Connection(Option<Pin<Box<Conversation>>>);

impl Connection {
    /// Does `work`, and moves the connection along meanwhile.
    async fn along<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        if let Some(connection) = &mut self.0 {
            tokio::select! {
                biased;
                done = &mut work => return done,
                // How it ended shows in the work.
                _ = connection => {}
            }
            self.0 = None;
        }
        work.await
    }
}

/// Believes the holder of one certificate. Whether it has expired, and for which name it
/// is, says nothing more: it is the very one that was named.
#[derive(Debug)]
struct Exactly {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if end_entity.as_ref() == self.certificate.as_ref() {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
