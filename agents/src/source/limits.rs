//! How much of what the user named is read at most.

use std::time::Duration;

/// Bounds on reading; what lies beyond is skipped and listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files read from all sources together; default 10,000.
    pub files: usize,
    /// Folders below a named one; default 32.
    pub depth: usize,
    /// Bytes of one file or web page; default 16 MiB. A database may be larger: it is read row by row up to this much text.
    pub file_bytes: u64,
    /// Bytes of text from all sources together; default 128 MiB.
    pub total_bytes: u64,
    /// Bytes on the disk of a node for the files of parcels that are read together; default 1 GiB.
    pub parcel_bytes: u64,
    /// Passages of all sources together; default 200,000.
    pub passages: usize,
    /// For one web page from the first byte sent to the last received, redirects included; default 20 s.
    pub fetch: Duration,
    /// Redirects followed for one URL; default 5.
    pub redirects: u32,
    /// Whether URLs that lead into a private network are refused, and PDFs that could take this process down; default
    /// false. Nodes that read for others set it.
    pub only_public: bool,
    /// For parsing one PDF or web page and for reading one database, which may be made to take for ever; default 30 s.
    pub parse: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            files: 10_000,
            depth: 32,
            file_bytes: 16 << 20,
            total_bytes: 128 << 20,
            parcel_bytes: 1 << 30,
            passages: 200_000,
            fetch: Duration::from_secs(20),
            redirects: 5,
            only_public: false,
            parse: Duration::from_secs(30),
        }
    }
}
