//! The keys of development mode, kept in a file beside the database: two lines, the secret key and the sealing keys, readable
//! by the service's user alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use iam_core::{KeyRing, Keys, OsRandomness, SecretKey};
use zeroize::Zeroizing;

/// The keys beside a database, made when there are none.
pub(super) fn load_or_make(database: &Path) -> io::Result<Keys> {
    let mut path = database.as_os_str().to_owned();
    path.push(".keys");
    load_or_make_at(&PathBuf::from(path))
}

fn load_or_make_at(path: &Path) -> io::Result<Keys> {
    let random = OsRandomness;
    let unavailable = |_| io::Error::other("no randomness");
    let made = Keys {
        secret: SecretKey::generate(&random).map_err(unavailable)?,
        ring: KeyRing::generate(&random).map_err(unavailable)?,
    };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(mut file) => {
            let text = Zeroizing::new(format!("{}\n{}\n", *made.secret.expose_base64(), *made.ring.expose()));
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            Ok(made)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_keys(path),
        Err(error) => Err(error),
    }
}

fn read_keys(path: &Path) -> io::Result<Keys> {
    let unusable = || io::Error::new(io::ErrorKind::InvalidData, format!("{} holds no keys", path.display()));
    let mut text = Zeroizing::new(String::new());
    let mut file = fs::File::open(path)?;
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions()) & 0o077 != 0 {
        tracing::warn!("{} can be read by others: chmod 600 it", path.display());
    }
    file.read_to_string(&mut text)?;
    let mut lines = text.lines();
    let secret = lines.next().and_then(|line| SecretKey::from_base64(line).ok()).ok_or_else(unusable)?;
    let ring = lines.next().and_then(|line| KeyRing::parse(line).ok()).ok_or_else(unusable)?;
    Ok(Keys { secret, ring })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn development_keys_are_kept_and_private() {
        let folder = std::env::temp_dir().join(format!("iam-keys-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("iam.db.keys");
        let made = load_or_make_at(&path).unwrap();
        let read = load_or_make_at(&path).unwrap();
        assert_eq!(*made.secret.expose_base64(), *read.secret.expose_base64());
        assert_eq!(*made.ring.expose(), *read.ring.expose());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&path, "garbage").unwrap();
        assert!(load_or_make_at(&path).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
