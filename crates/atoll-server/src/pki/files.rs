//! Files of the root directory: read whole, replaced whole.
//!
//! A replaced file is either the old or the new one after a crash, never half of each; a secret is never
//! readable by others, not even for the moment between its creation and a chmod.

use std::fs;
use std::io::Write;
use std::path::Path;

use super::PkiError;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    Public,
    Secret,
}

pub(super) fn create_private_directory(path: &Path) -> Result<(), PkiError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| PkiError::File {
        action: "create",
        path: path.to_owned(),
        source,
    })
}

pub(super) fn read(path: &Path) -> Result<String, PkiError> {
    let bytes = read_bytes(path)?;
    String::from_utf8(bytes).map_err(|_| PkiError::Damaged {
        path: path.to_owned(),
        why: "it is not text".to_owned(),
    })
}

pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, PkiError> {
    fs::read(path).map_err(|source| PkiError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

/// The content, or `None` when there is no such file.
pub(super) fn read_if_there(path: &Path) -> Result<Option<String>, PkiError> {
    if path.exists() {
        read(path).map(Some)
    } else {
        Ok(None)
    }
}

/// Writes beside the file, syncs, renames over it, and syncs the directory.
pub(super) fn replace(path: &Path, content: &[u8], secrecy: Secrecy) -> Result<(), PkiError> {
    let failed = |source| PkiError::File {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let written = (|| {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(
            &mut options,
            if secrecy == Secrecy::Secret {
                0o600
            } else {
                0o644
            },
        );
        let mut file = options.open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            fs::File::open(parent)?.sync_all()?;
        }
        Ok(())
    })();
    if written.is_err() {
        // The half-made file is of no use to anyone; the error that matters is the first one.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(failed)
}
