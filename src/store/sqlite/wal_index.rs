//! What the index of a write-ahead log (the file `-shm`) says of the log and of its checkpoints.
//!
//! The format is that of <https://www.sqlite.org/walformat.html#the_wal_index_file_format>: numbers in
//! the machine's byte order, in memory that all processes with the database share.

/// The first bytes of the file: the header, twice, and the state of the checkpoints.
pub(super) const LEN: usize = 136;

/// The bytes of a write-ahead log before its first frame.
pub(super) const LOG_HEADER_LEN: u64 = 32;

const HEADER_LEN: usize = 48;
const FORMAT: u32 = 3_007_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WalIndex {
    /// How many frames of the log count.
    pub(super) frames: u32,
    pub(super) page_size: u32,
    /// Random numbers that stand in the header of the log too. They change when the log starts again
    /// from its beginning.
    pub(super) salts: [u8; 8],
    /// How many frames a checkpoint has copied to the database.
    checkpointed: u32,
    /// How many frames the last checkpoint was about to copy when it began.
    to_checkpoint: u32,
}

impl WalIndex {
    /// Gives `None` while another thread or process is writing the header.
    pub(super) fn parse(bytes: &[u8; LEN]) -> Option<Self> {
        let (header, rest) = bytes.split_at(HEADER_LEN);
        let number = |offset: usize| {
            let bytes = bytes[offset..offset + 4].try_into();
            bytes.map(u32::from_ne_bytes).ok()
        };
        let is_complete = rest.starts_with(header) && number(0)? == FORMAT && header[12] == 1;
        let page_size = u16::from_ne_bytes([header[14], header[15]]);
        is_complete.then_some(Self {
            frames: number(16)?,
            // The largest size, 65536, does not fit and is given as 1.
            page_size: if page_size == 1 {
                65536
            } else {
                page_size.into()
            },
            salts: header[32..40].try_into().ok()?,
            checkpointed: number(96)?,
            to_checkpoint: number(128)?,
        })
    }

    /// Whether the whole log is in the database.
    pub(super) fn is_checkpointed(&self) -> bool {
        self.frames == self.checkpointed
    }

    /// Whether a checkpoint may have written to the database since the index was like this: one has
    /// ended, or runs now. Nothing else of SQLite's writes to a database with a write-ahead log.
    pub(super) fn explains_a_write_since(&self, earlier: &Self) -> bool {
        let state = |index: &Self| (index.salts, index.checkpointed, index.to_checkpoint);
        state(self) != state(earlier) || self.checkpointed != self.to_checkpoint
    }
}
