//! Keys of an account: from files or the environment, wiped when dropped, never printed.

use std::fmt::Write;
use std::path::PathBuf;

use ring::hmac;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Where one secret is: exactly one of both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSource {
    /// A file that holds it; white space around it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// An environment variable that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    /// What is missing; never the secret.
    pub fn read(&self) -> Result<Secret, String> {
        let text = match (&self.file, &self.env) {
            (Some(file), None) => {
                std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?
            }
            (None, Some(name)) => std::env::var(name).map_err(|_| format!("environment variable {name} is not set"))?,
            _ => return Err("expected either `file` or `env`".into()),
        };
        let text = Zeroizing::new(text);
        let secret = text.trim();
        if secret.is_empty() { Err("the secret is empty".into()) } else { Ok(Secret::new(secret)) }
    }
}

/// Writes a JSON string without a copy of it elsewhere.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control < ' ' => _ = write!(out, "\\u{:04x}", u32::from(control)),
            plain => out.push(plain),
        }
    }
    out.push('"');
}

/// A text that is wiped from memory when dropped and prints as `***`.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a copy of `text`.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// The text itself: for signatures and for the frame that must carry it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("***")
    }
}

/// What a venue gives an account's holder.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The key's name.
    pub key: Secret,
    /// What signs.
    pub secret: Secret,
    /// Bitget's and OKX's third part.
    pub passphrase: Option<Secret>,
}

impl Credentials {
    /// The login frame of OKX and Bitget. It is the only copy of the passphrase that leaves here: it never grows while
    /// it is written, and the session wipes it when it was sent.
    pub fn login_frame(&self, timestamp: &str, sign: &str) -> String {
        let (key, passphrase) = (self.key.expose(), self.passphrase());
        // An escape takes six bytes at most.
        let mut text = String::with_capacity(256 + 6 * (key.len() + passphrase.len()) + sign.len());
        text.push_str(r#"{"op":"login","args":[{"apiKey":"#);
        quote(&mut text, key);
        text.push_str(r#","passphrase":"#);
        quote(&mut text, passphrase);
        text.push_str(r#","timestamp":"#);
        quote(&mut text, timestamp);
        text.push_str(r#","sign":"#);
        quote(&mut text, sign);
        text.push_str("}]}");
        text
    }

    /// HMAC-SHA-256 of `text`.
    pub fn sign(&self, text: &str) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.expose().as_bytes());
        let mut signature = [0; 32];
        signature.copy_from_slice(hmac::sign(&key, text.as_bytes()).as_ref());
        signature
    }

    /// The same in base64 (Bitget, OKX).
    pub fn sign_base64(&self, text: &str) -> String {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(self.sign(text))
    }

    /// The same in lower-case hexadecimal (Binance, Bybit, Deribit).
    pub fn sign_hex(&self, text: &str) -> String {
        self.sign(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The passphrase, or nothing.
    pub fn passphrase(&self) -> &str {
        self.passphrase.as_ref().map_or("", Secret::expose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_frame_is_json_whatever_a_passphrase_holds_and_never_grows() {
        for passphrase in ["", "plain", "\"quoted\\\"", "\u{1}\n\u{1f}", "käse🧀"] {
            let credentials = Credentials {
                key: Secret::new("a\"key"),
                secret: Secret::new("secret"),
                passphrase: Some(Secret::new(passphrase)),
            };
            let text = credentials.login_frame("1700000000", "c2lnbg==");
            assert_eq!(text.capacity(), 256 + 6 * (5 + passphrase.len()) + 8);
            let args = &serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["args"][0];
            assert_eq!((args["apiKey"].as_str(), args["passphrase"].as_str()), (Some("a\"key"), Some(passphrase)));
            assert_eq!((args["timestamp"].as_str(), args["sign"].as_str()), (Some("1700000000"), Some("c2lnbg==")));
        }
    }
}
