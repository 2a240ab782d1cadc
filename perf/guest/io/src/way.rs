//! A device, by whatever way, and how long was looked in vain on it.

use alloc::{boxed::Box, format, string::String, sync::Arc};

use driver_sdk::{
    io::{BlockDevice, Integrated, Level, NamespaceId, protocol::key},
    prelude::*,
};
use spillway_native::Function;
use spillway_nvme::{Nvme, Options};

use crate::failed;

/// Asks a server for the value of a key.
type Ask = Arc<dyn Fn(u64) -> Result<u64, String> + Send + core::marker::Sync>;

/// A disk, and who looks for its completions.
#[derive(Clone)]
pub struct Way<D> {
    /// The disk.
    pub device: D,
    /// Asks its server for how long it has looked in vain; without a server, the application looks.
    server: Option<Ask>,
}

/// A controller that is this program's own.
pub type Own = Integrated<Nvme<&'static Function>, &'static Function>;

impl<D: Level + 'static> Way<D> {
    /// A disk behind a server.
    pub fn served(device: D) -> Self {
        let connection = device.connection().clone();
        let ask = move |key| {
            let told = connection.object().get_meta(key);
            told.map_err(|failure| format!("the server does not say: {failure}"))
        };
        Self {
            device,
            server: Some(Arc::new(ask)),
        }
    }
}

impl Way<Own> {
    /// The disk that the manifest gives to this process.
    pub fn integrated(name: &str) -> Result<Self, String> {
        // As long as the process.
        let function: &'static Function = Box::leak(Box::new(
            Function::named(name).map_err(|error| format!("no disk: {error}"))?,
        ));
        let driver = Nvme::new(function, Options::default())
            .map_err(|error| format!("the disk failed: {error}"))?;
        Ok(Self {
            device: Integrated::new(driver, Nvme::device, NamespaceId(1)).map_err(failed)?,
            server: None,
        })
    }
}

impl<D: BlockDevice> Way<D> {
    /// Whether the application itself looks at the device.
    pub fn is_own(&self) -> bool {
        self.server.is_none()
    }

    /// Ticks for which the server, if there is one, has looked in vain.
    pub fn server_idle(&self) -> Result<u64, String> {
        self.server
            .as_ref()
            .map_or(Ok(0), |ask| ask(key::IDLE_TICKS))
    }

    /// Looks of the server, if there is one, that found something.
    pub fn server_looks(&self) -> Result<u64, String> {
        self.server.as_ref().map_or(Ok(0), |ask| ask(key::LOOKS))
    }
}
