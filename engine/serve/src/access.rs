//! Who may do what.
//!
//! Three levels: nobody in particular, who sees (`view`), who steers (`control`). A server on a loopback address lets
//! anybody on the host see, unless it has a token for that; elsewhere seeing takes one. Whatever changes something
//! takes the control token, everywhere. A browser is believed only when it comes from a page of ours (`Origin`) and
//! names us by a name that is ours (`Host`): another site's page, or a name that was made to point here, gets nothing.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use ring::rand::SecureRandom;
use sha2::{Digest, Sha256};

/// What somebody may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Liveness only.
    Nobody,
    /// See everything.
    View,
    /// See everything and ask the engine for changes.
    Control,
}

/// A token, kept as its SHA-256: comparing digests tells nothing of the token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// A token that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("{path}: mode {mode:o}, expected a file that only its owner reads: chmod 600 {path}")]
    Open {
        /// Which file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// Too short to be guessed only by luck.
    #[error("{path}: a token of {length} characters, expected at least 32 and no white space")]
    Weak {
        /// Which file.
        path: String,
        /// Its length.
        length: usize,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

impl Token {
    /// Of a text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Whether a text is this token.
    pub fn is(&self, text: &str) -> bool {
        let other = Self::of(text);
        self.0.iter().zip(other.0).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }

    /// Reads a token's file; makes one with a random token where there is none.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn read_or_make(path: &Path) -> Result<Self, TokenError> {
        let shown = || path.display().to_string();
        let io = |source| TokenError::Io { path: shown(), source };
        match std::fs::metadata(path) {
            Ok(found) if found.mode() & 0o077 != 0 => {
                return Err(TokenError::Open { path: shown(), mode: found.mode() & 0o777 });
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(path, &io)?,
            Err(error) => return Err(io(error)),
        }
        let text = std::fs::read_to_string(path).map_err(io)?;
        let token = text.trim();
        if token.len() < 32 || token.contains(char::is_whitespace) {
            return Err(TokenError::Weak { path: shown(), length: token.len() });
        }
        Ok(Self::of(token))
    }
}

fn make(path: &Path, io: &impl Fn(std::io::Error) -> TokenError) -> Result<(), TokenError> {
    let mut bytes = [0; 32];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| TokenError::Random)?;
    write_private(path, format!("{}\n", hex::encode(bytes)).as_bytes()).map_err(io)
}

/// Writes a new file that only its owner may read; it is on the disk when this returns.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The rules of one server.
#[derive(Clone, Debug)]
pub struct Access {
    /// Who has it steers.
    pub control: Token,
    /// Who has it sees; those who steer see too. Without one, only they do, where seeing takes a token.
    pub view: Option<Token>,
    /// Whether seeing takes no token.
    pub open: bool,
    /// Names by which browsers may call the server, beside loopback's and its own address.
    pub hosts: Vec<String>,
    /// Pages of others that may use it, as browsers write an origin.
    pub origins: Vec<String>,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A request that gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    /// A host name that is not ours.
    #[error("this server does not go by that name (serve.hosts lists more names)")]
    Host,
    /// A page that is not ours.
    #[error("pages of that origin may not use this server (serve.origins lists those that may)")]
    Origin,
}

impl Access {
    /// Whether a request comes by a name and from a page that are ours.
    ///
    /// # Errors
    /// [`Stranger`].
    pub fn admit(&self, headers: &HeaderMap) -> Result<(), Stranger> {
        let host = headers.get(HOST).map(|host| host.to_str().unwrap_or("")).ok_or(Stranger::Host)?;
        if !self.is_ours(host) {
            return Err(Stranger::Host);
        }
        // One header, or none at all where no browser asks.
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Ok(()),
            (Some(origin), None) => {
                let origin = origin.to_str().unwrap_or("");
                let own = origin.split_once("://").is_some_and(|(scheme, name)| {
                    matches!(scheme, "http" | "https") && name.eq_ignore_ascii_case(host)
                });
                (own || self.origins.iter().any(|other| other == origin)).then_some(()).ok_or(Stranger::Origin)
            }
            _ => Err(Stranger::Origin),
        }
    }

    /// Whether a host header names us: by an address or name of loopback, by our own address, by a configured name.
    fn is_ours(&self, host: &str) -> bool {
        let Some((name, port)) = split_port(host) else { return false };
        if port.is_some_and(|port| port != self.address.port()) {
            return false;
        }
        let named = self.hosts.iter().any(|other| other.eq_ignore_ascii_case(name));
        let address = name
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip == self.address.ip() || ip.is_loopback() || self.address.ip().is_unspecified());
        named || address || name.eq_ignore_ascii_case("localhost")
    }

    /// What the bearer of a token may; of none without.
    pub fn level(&self, token: Option<&str>) -> Level {
        let seen = if self.open { Level::View } else { Level::Nobody };
        match token {
            Some(token) if self.control.is(token) => Level::Control,
            Some(token) if self.view.as_ref().is_some_and(|view| view.is(token)) => Level::View,
            _ => seen,
        }
    }
}

/// The token of an `Authorization` header.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

/// Name and port of a host header; IPv6 addresses stand in brackets.
fn split_port(host: &str) -> Option<(&str, Option<u16>)> {
    let (name, rest) = match host.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(port.parse().ok()?),
        None if rest.is_empty() => None,
        None => return None,
    };
    Some((name, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        Access {
            control: Token::of("control"),
            view: Some(Token::of("view")),
            open: true,
            hosts: vec!["gate.example".into()],
            origins: vec!["https://desk.example".into()],
            address: "127.0.0.1:8765".parse().expect("an address"),
        }
    }

    fn headers(host: &str, origins: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().expect("a header"));
        for origin in origins {
            headers.append(ORIGIN, origin.parse().expect("a header"));
        }
        headers
    }

    #[test]
    fn only_our_names_and_our_pages() {
        let access = access();
        let ours = ["127.0.0.1:8765", "localhost:8765", "LOCALHOST", "[::1]:8765", "gate.example:8765", "127.0.0.1"];
        for host in ours {
            assert_eq!(access.admit(&headers(host, &[])), Ok(()), "{host}");
        }
        let strange =
            ["evil.example:8765", "localhost.evil.example", "localhost:99999", "127.0.0.1:80", "10.0.0.1", ""];
        for host in strange {
            assert_eq!(access.admit(&headers(host, &[])), Err(Stranger::Host), "{host}");
        }
        assert_eq!(access.admit(&HeaderMap::new()), Err(Stranger::Host));
        for (origin, expected) in [
            ("http://127.0.0.1:8765", Ok(())),
            ("https://desk.example", Ok(())),
            ("null", Err(Stranger::Origin)),
            ("http://127.0.0.1:8766", Err(Stranger::Origin)),
            ("http://127.0.0.1", Err(Stranger::Origin)),
            ("https://desk.example.evil.example", Err(Stranger::Origin)),
            ("https://DESK.example", Err(Stranger::Origin)),
            ("file://127.0.0.1:8765", Err(Stranger::Origin)),
            ("", Err(Stranger::Origin)),
        ] {
            assert_eq!(access.admit(&headers("127.0.0.1:8765", &[origin])), expected, "{origin}");
        }
        let two = headers("127.0.0.1:8765", &["http://127.0.0.1:8765", "https://evil.example"]);
        assert_eq!(access.admit(&two), Err(Stranger::Origin));
    }

    #[test]
    fn tokens_give_levels() {
        let mut access = access();
        assert_eq!(access.level(None), Level::View);
        assert_eq!(access.level(Some("wrong")), Level::View);
        assert_eq!(access.level(Some("control")), Level::Control);
        access.open = false;
        assert_eq!([None, Some(""), Some("contro")].map(|token| access.level(token)), [Level::Nobody; 3]);
        assert_eq!(access.level(Some("view")), Level::View);
        assert!(!format!("{access:?}").contains("view\""));
    }

    #[test]
    fn a_token_is_its_owners_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control.token");
        let made = Token::read_or_make(&path).expect("a token");
        assert_eq!(Token::read_or_make(&path).expect("the same"), made);
        assert_eq!(std::fs::metadata(&path).expect("a file").mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).expect("changed");
        assert!(matches!(Token::read_or_make(&path), Err(TokenError::Open { mode: 0o640, .. })));
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("changed");
        std::fs::write(&path, "short\n").expect("written");
        assert!(matches!(Token::read_or_make(&path), Err(TokenError::Weak { length: 5, .. })));
    }
}
