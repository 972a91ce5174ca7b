//! Public SSH keys: those that users hand in, and those that instances tell of.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg};

use crate::credentials::{HOME_VARIABLE, home, in_home};
use crate::explain::{ExitCode, Explain};

/// The most that is read of a key file, in bytes; RSA with 16,384 bits takes 3,000.
const MAX_FILE: u64 = 64 * 1024;
/// The shortest RSA key that sshd takes, in bits.
const MIN_RSA_BITS: usize = 2048;
/// The key files that ssh looks for, the one to be taken first at the front.
const USUAL: [&str; 3] = ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"];

/// A public key, as one line of OpenSSH's has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey {
    algorithm: String,
    line: String,
    comment: String,
    fingerprint: String,
}

impl PublicKey {
    /// The key for a user's logins: the only one of a text, of a type that the service takes.
    ///
    /// # Errors
    /// When the text is something else. A text that may be a private key is not shown.
    pub(crate) fn parse(text: &str) -> Result<Self, KeyError> {
        if is_private(text) {
            return Err(KeyError::Private { path: None });
        }
        if ["-----BEGIN ", "---- BEGIN "].iter().any(|begin| text.contains(begin)) {
            return Err(KeyError::OtherFormat);
        }
        let is_key = |line: &&str| !line.is_empty() && !line.starts_with('#');
        let mut lines = text.lines().map(str::trim).filter(is_key);
        let line = lines.next().ok_or(KeyError::Empty)?;
        match lines.count() {
            0 => Self::from_line(line),
            more => Err(KeyError::Several(more + 1)),
        }
    }

    fn from_line(line: &str) -> Result<Self, KeyError> {
        let word = line.split_ascii_whitespace().next().unwrap_or_default();
        if word.contains("-cert-v01@") {
            return Err(KeyError::Certificate);
        }
        // Where OpenSSH takes any blanks, the parser requires one space.
        let spaced = line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let key = match ssh_key::PublicKey::from_openssh(&spaced) {
            Ok(key) => key,
            Err(_) if is_type(word) => return Err(KeyError::Damaged),
            // Where a type comes later the line has options before it, as authorized_keys may.
            Err(_) if line.split_ascii_whitespace().any(is_type) => return Err(KeyError::Options),
            Err(_) => return Err(KeyError::NotAKey),
        };
        match key.key_data() {
            KeyData::Ed25519(_) | KeyData::Ecdsa(_) => {}
            KeyData::Rsa(rsa) => match bits(rsa.n().as_positive_bytes().unwrap_or_default()) {
                bits if bits < MIN_RSA_BITS => return Err(KeyError::ShortRsa { bits }),
                _ => {}
            },
            _ => return Err(KeyError::Type(key.algorithm().to_string())),
        }
        Ok(Self::new(&key))
    }

    /// The host keys that a text has a line for; other lines are skipped.
    pub(crate) fn host_keys(text: &str) -> Vec<Self> {
        let mut keys = Vec::new();
        for line in text.lines().map(str::trim) {
            // Unknown types, and those of no host key, are skipped: ssh uses only the types that it
            // knows.
            if let Ok(key) = ssh_key::PublicKey::from_openssh(line)
                && !matches!(key.algorithm(), Algorithm::Other(_))
            {
                let key = Self::new(&key);
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        keys
    }

    fn new(key: &ssh_key::PublicKey) -> Self {
        let algorithm = key.algorithm().to_string();
        let mut bare = key.clone();
        bare.set_comment("");
        Self {
            // It was parsed from this very form.
            line: bare.to_openssh().unwrap_or_default().trim_end().to_owned(),
            algorithm,
            comment: key.comment().to_string(),
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
        }
    }

    /// The type and the key in Base64, without the comment.
    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    /// The key in Base64.
    pub(crate) fn base64(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The type, such as `ssh-ed25519`.
    pub(crate) fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// Its comment, often `user@host`.
    pub(crate) fn comment(&self) -> &str {
        &self.comment
    }

    /// `SHA256:…`, as ssh-keygen shows it.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// A key and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// The key.
    pub key: PublicKey,
    /// Its file, if it came from one.
    pub path: Option<PathBuf>,
}

/// Finds the key that a user names: a file, the key itself, `-` for stdin, or, with no name, the
/// first of the usual files in `~/.ssh`.
///
/// # Errors
/// When there is no such key, or it is not one that can be registered.
pub(crate) fn load(given: Option<&str>, home: Option<&Path>) -> Result<Loaded, KeyError> {
    match given {
        Some("-") => Ok(Loaded { key: PublicKey::parse(&read(io::stdin())?)?, path: None }),
        Some("") => Err(KeyError::Empty),
        Some(text) if is_text(text) => Ok(Loaded { key: PublicKey::parse(text)?, path: None }),
        // A line of a private key's Base64 is no file, and not to be shown.
        Some(word) if is_base64(word) && !Path::new(word).exists() => Err(KeyError::NotAKey),
        Some(path) => from_file(in_home(Path::new(path), home)),
        None => usual(home),
    }
}

/// Finds the key that each login registers: the one that its command line names, or that of the
/// variable which send-key takes its key from, or the first of the usual files.
///
/// # Errors
/// As [`load`].
pub(crate) fn of_login(named: Option<&str>) -> Result<Loaded, KeyError> {
    // What is not text names no key, and another key is not registered in its place.
    let set = env::var_os("ECS_BRIDGE_PUBLIC_KEY").map(|key| key.to_string_lossy().into_owned());
    // Stdin carries the SSH stream.
    let set = set.filter(|key| !key.is_empty() && key != "-");
    load(named.or(set.as_deref()), home().as_deref())
}

fn usual(home: Option<&Path>) -> Result<Loaded, KeyError> {
    let folder = home.ok_or(KeyError::NoHome)?.join(".ssh");
    for path in USUAL.map(|name| folder.join(name)) {
        match from_file(path) {
            Err(KeyError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
    }
    Err(KeyError::NoneThere { folder })
}

/// Reads a key from a file.
///
/// # Errors
/// As [`load`].
pub(crate) fn from_file(path: PathBuf) -> Result<Loaded, KeyError> {
    let text = match File::open(&path) {
        Ok(file) => read(file),
        Err(source) => Err(KeyError::Read(source)),
    };
    let key = text.and_then(|text| PublicKey::parse(&text)).map_err(|error| match error {
        KeyError::Private { .. } => KeyError::Private { path: Some(path.clone()) },
        KeyError::Read(source) => KeyError::File { path: path.clone(), source },
        other => KeyError::In { path: path.clone(), error: Box::new(other) },
    })?;
    Ok(Loaded { key, path: Some(path) })
}

/// What is read is wiped from memory afterwards: it may turn out to be a private key.
fn read(from: impl Read) -> Result<Zeroizing<String>, KeyError> {
    // Memory that grows would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE as usize + 1));
    from.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(KeyError::Read)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(KeyError::TooLong);
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned())),
        Err(_) if matches!(**bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) => Err(KeyError::Utf16),
        Err(_) => Err(KeyError::NotAKey),
    }
}

/// Whether a word may be of a key in Base64: longer than names of files are.
fn is_base64(word: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    word.len() >= 40 && word.bytes().all(is_digit)
}

/// Whether a command line's word is a key rather than a path.
fn is_text(text: &str) -> bool {
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    is_private(text)
        || text.contains(['\n', '\r'])
        || (words.len() > 1 && is_type(words[0]))
        || words.windows(2).any(|pair| is_type(pair[0]) && pair[1].starts_with("AAAA"))
}

/// Whether a text is a private key, or holds one.
pub(crate) fn is_private(text: &str) -> bool {
    // The last one is how the Base64 of OpenSSH's own format begins, without the lines around it.
    ["PRIVATE KEY", "PuTTY-User-Key-File", "Private-Lines:", "b3BlbnNzaC1rZXktdjE"]
        .iter()
        .any(|mark| text.contains(mark))
        || text.split_ascii_whitespace().any(is_private_der)
}

/// Whether a word is how the Base64 of a key in PEM begins, without the lines around it: PKCS #1, PKCS
/// #8 and SEC 1 have a sequence (X.690) whose first element is the number of a version, 0 or 1.
fn is_private_der(word: &str) -> bool {
    let head = word.get(..12).and_then(|head| STANDARD.decode(head).ok());
    let body = match head.as_deref() {
        Some([0x30, 0x82, _, _, body @ ..] | [0x30, 0x81, _, body @ ..] | [0x30, _, body @ ..]) => {
            body
        }
        _ => return false,
    };
    matches!(body, [2, 1, 0 | 1, ..])
}

/// Whether a word names a type of keys.
fn is_type(word: &str) -> bool {
    let families = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "rsa-sha2-"];
    families.iter().any(|family| word.strip_prefix(family).is_some_and(|rest| !rest.is_empty()))
}

fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

/// Why there is no key to register. None of them shows what was read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// It is a secret.
    #[error("{} is a private key: it was not sent, and not logged", shown(.path.as_deref()))]
    Private {
        /// Its file, if it came from one.
        path: Option<PathBuf>,
    },
    /// It cannot be read.
    #[error("the key cannot be read: {0}")]
    Read(#[source] io::Error),
    /// The file cannot be read.
    #[error("cannot read the key file {}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is in a file cannot be used.
    #[error("{}: {error}", .path.display())]
    In {
        /// The file.
        path: PathBuf,
        /// Why.
        error: Box<KeyError>,
    },
    /// Nothing in it.
    #[error("there is no public key")]
    Empty,
    /// More than one.
    #[error("there are {0} keys in it, and one is registered at a time")]
    Several(usize),
    /// Something else altogether.
    #[error("this is no public key")]
    NotAKey,
    /// As PowerShell writes what it redirects to a file.
    #[error("the file is UTF-16, which no key file is")]
    Utf16,
    /// It begins as one.
    #[error("the public key is damaged")]
    Damaged,
    /// A line of authorized_keys.
    #[error("the key has options before it")]
    Options,
    /// PEM, or SSH2's own.
    #[error("the key is not in OpenSSH's format")]
    OtherFormat,
    /// A certificate.
    #[error("this is a certificate, not a public key")]
    Certificate,
    /// Of a type that is not taken.
    #[error("keys of the type {0} cannot be registered")]
    Type(String),
    /// RSA with too few bits.
    #[error("the RSA key has {bits} bits, and {MIN_RSA_BITS} are the least")]
    ShortRsa {
        /// How many.
        bits: usize,
    },
    /// Not a key file.
    #[error("this is longer than any public key")]
    TooLong,
    /// None of the usual files.
    #[error("there is no key in {}: looked for {}", .folder.display(), USUAL.join(", "))]
    NoneThere {
        /// Where they would be.
        folder: PathBuf,
    },
    /// Nowhere to look.
    #[error("no key was named, and no home folder is known ({})", HOME_VARIABLE)]
    NoHome,
}

fn shown(path: Option<&Path>) -> String {
    path.map_or_else(|| "this".to_owned(), |path| path.display().to_string())
}

impl Explain for KeyError {
    fn why(&self) -> Option<String> {
        let why = match self {
            Self::In { error, .. } => return error.why(),
            Self::Private { .. } => "only the public half of a key may be known to others",
            Self::Type(_) => "the service is known to take ED25519, ECDSA and RSA keys",
            Self::ShortRsa { .. } => "sshd does not accept shorter ones",
            Self::Certificate => "the service registers keys, and knows no certificate authority",
            _ => return None,
        };
        Some(why.to_owned())
    }

    fn remedy(&self) -> Option<String> {
        let fix = match self {
            Self::In { error, .. } => return error.remedy(),
            Self::Private { path: Some(path) } => {
                let mut public = path.clone().into_os_string();
                public.push(".pub");
                let (shown, public) = (path.display(), PathBuf::from(public));
                return Some(match public.is_file() {
                    true => format!("give its public half, {}", public.display()),
                    // What ssh-keygen cannot read.
                    false
                        if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("ppk")) =>
                    {
                        format!(
                            "give its public half; puttygen '{shown}' -O public-openssh -o '{}' writes \
                             it, and PuTTYgen's window shows it",
                            public.display()
                        )
                    }
                    false => format!(
                        "give its public half; ssh-keygen -y -f '{shown}' > '{}' writes it",
                        public.display()
                    ),
                });
            }
            Self::Private { path: None } => {
                "give the public half, the file that ends in .pub; and take care that this one is in \
                 nobody else's hands, for a command line can be seen by others and is kept in the \
                 shell's history"
            }
            Self::Utf16 => {
                "save it as UTF-8; of ssh-keygen's output: ssh-keygen -y -f KEY | Out-File -Encoding \
                 ascii KEY.pub"
            }
            Self::Certificate => "give the public key that it was made for: the file without -cert",
            Self::Several(_) => "give one of them, as text in quotes, or put it into its own file",
            Self::Options => "give the key alone, from its type on: ssh-ed25519 AAAA…",
            Self::OtherFormat => "convert it: ssh-keygen -i -f FILE (add -m PKCS8 for PEM)",
            Self::Type(_) | Self::ShortRsa { .. } => "make another key: ssh-keygen -t ed25519",
            Self::NoneThere { .. } => "make one with ssh-keygen -t ed25519, or name another file",
            Self::File { .. } | Self::Read(_) | Self::NoHome => {
                "name the file of a public key, such as ~/.ssh/id_ed25519.pub"
            }
            Self::Empty | Self::NotAKey | Self::Damaged | Self::TooLong => {
                "give a public key as ssh-keygen writes it into the file that ends in .pub: one line, \
                 ssh-ed25519 AAAA…"
            }
        };
        Some(fix.to_owned())
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::Usage
    }
}

#[cfg(test)]
mod tests;
