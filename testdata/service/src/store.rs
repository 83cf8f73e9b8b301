//! Blobs in files, everything else in SQLite.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

use crate::Error;

pub struct Store {
    blobs: PathBuf,
    database: Mutex<Connection>,
}

pub fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

impl Store {
    pub fn open(data: &Path, cache: &Path) -> Result<Self, Error> {
        let blobs = data.join("blobs");
        fs::create_dir_all(&blobs)?;
        fs::write(cache.join("started"), std::env::consts::ARCH)?;
        let database = Connection::open(data.join("depot.sqlite"))?;
        database.execute_batch(
            "CREATE TABLE IF NOT EXISTS manifest (digest TEXT PRIMARY KEY, type TEXT NOT NULL, body BLOB NOT NULL);
             CREATE TABLE IF NOT EXISTS tag (repository TEXT, name TEXT, digest TEXT NOT NULL,
                 PRIMARY KEY (repository, name));",
        )?;
        Ok(Self { blobs, database: Mutex::new(database) })
    }

    pub fn put_blob(&self, bytes: &[u8]) -> Result<String, Error> {
        let digest = digest(bytes);
        fs::write(self.blobs.join(&digest), bytes)?;
        Ok(digest)
    }

    pub fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        let plain = digest.strip_prefix("sha256:")?.bytes().all(|byte| byte.is_ascii_hexdigit());
        fs::read(self.blobs.join(digest)).ok().filter(|_| plain)
    }

    pub fn put_manifest(&self, repository: &str, name: &str, kind: &str, body: &[u8]) -> Result<String, Error> {
        let digest = digest(body);
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        database.execute("INSERT OR REPLACE INTO manifest VALUES (?1, ?2, ?3)", (&digest, kind, body))?;
        if name != digest {
            database.execute("INSERT OR REPLACE INTO tag VALUES (?1, ?2, ?3)", (repository, name, &digest))?;
        }
        Ok(digest)
    }

    pub fn manifest(&self, repository: &str, name: &str) -> Result<Option<(String, String, Vec<u8>)>, Error> {
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let ask = "SELECT digest, type, body FROM manifest WHERE digest = ?2
             OR digest = (SELECT digest FROM tag WHERE repository = ?1 AND name = ?2)";
        let row = database.query_row(ask, (repository, name), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        Ok(row.optional()?)
    }
}
