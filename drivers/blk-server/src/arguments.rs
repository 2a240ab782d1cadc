//! What the manifest says: which driver, which ranges, how to wait.
//!
//! | argument | meaning | if absent |
//! |---|---|---|
//! | `service=NAME` | what the service is called in `provides` | `disk` |
//! | `device=NAME` | an NVMe by its name in `devices` | `disk` |
//! | `ram=BYTES` | a RAM-disk instead, in blocks of 512 bytes | – |
//! | `delay=NANOSECONDS`, `seed=NUMBER` | how long the RAM-disk takes at most, and for which delays | 0, 1 |
//! | `range=OBJECT:NAMESPACE:FIRST:COUNT:RIGHTS` | a range of blocks; `COUNT` 0 is the rest, `RIGHTS` `r` or `rw` | object 0 is all of the first namespace |
//! | `wait=poll`, `interrupt`, `adaptive` | how to pass the time until the device answers | `adaptive` |
//! | `depth=NUMBER` | requests that the driver has at most | 256 |

use alloc::{format, string::String, vec::Vec};

use driver_sdk::{
    hal::block::{BlockCount, BlockDriver, BlockLimits, Lba, NamespaceId},
    io::{WaitMode, protocol::block::Extent},
};

use crate::{Options, Range};

/// Which driver.
#[derive(Clone, Debug)]
pub enum Driver {
    /// An NVMe, by the name of its function.
    Nvme(String),
    /// A RAM-disk: bytes, delay, seed.
    Ram(u64, u64, u64),
}

/// Everything that the arguments say.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// The service.
    pub service: String,
    /// The driver.
    pub driver: Driver,
    /// How to serve.
    pub options: Options,
    ranges: Vec<Wanted>,
}

/// A range as it was written.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    object: u64,
    namespace: u32,
    first: u64,
    count: u64,
    writable: bool,
}

impl Arguments {
    /// Reads the arguments; a sentence about the first that is wrong.
    ///
    /// # Errors
    ///
    /// That sentence.
    pub fn parse<'a>(arguments: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut parsed = Self {
            service: "disk".into(),
            driver: Driver::Nvme("disk".into()),
            options: Options::default(),
            ranges: Vec::new(),
        };
        let (mut ram, mut delay, mut seed) = (None, 0, 1);
        for argument in arguments {
            let (key, value) = argument
                .split_once('=')
                .ok_or_else(|| format!("`{argument}`: write KEY=VALUE"))?;
            let number = || {
                value
                    .parse::<u64>()
                    .map_err(|_| format!("`{argument}`: `{value}` is no number"))
            };
            match key {
                "service" => parsed.service = value.into(),
                "device" => parsed.driver = Driver::Nvme(value.into()),
                "ram" => ram = Some(number()?),
                "delay" => delay = number()?,
                "seed" => seed = number()?,
                "range" => parsed.ranges.push(range(value)?),
                "depth" => {
                    let depth = u16::try_from(number()?).ok().filter(|&depth| depth > 0);
                    parsed.options.depth =
                        depth.ok_or_else(|| format!("`{argument}`: a depth is 1 to 65535"))?;
                }
                "wait" => {
                    parsed.options.wait = match value {
                        "poll" => WaitMode::Poll,
                        "interrupt" => WaitMode::Interrupt,
                        "adaptive" => Options::default().wait,
                        _ => {
                            return Err(format!("`{argument}`: write poll, interrupt or adaptive"));
                        }
                    }
                }
                _ => return Err(format!("`{key}` is no argument of blk-server")),
            }
        }
        if let Some(bytes) = ram {
            parsed.driver = Driver::Ram(bytes, delay, seed);
        }
        Ok(parsed)
    }

    /// The ranges on a driver's namespaces; a sentence about the first that does not fit.
    ///
    /// # Errors
    ///
    /// That sentence.
    pub fn ranges(&self, driver: &impl BlockDriver) -> Result<Vec<Range>, String> {
        let all = Wanted {
            object: 0,
            namespace: driver.namespaces().first().map_or(1, |id| id.0),
            first: 0,
            count: 0,
            writable: true,
        };
        let wanted = match self.ranges.is_empty() {
            true => core::slice::from_ref(&all),
            false => &self.ranges,
        };
        wanted.iter().map(|wanted| wanted.on(driver)).collect()
    }
}

fn range(text: &str) -> Result<Wanted, String> {
    const FORM: &str = "write range=OBJECT:NAMESPACE:FIRST:COUNT:RIGHTS, the rights being r or rw";
    let wrong = || format!("`range={text}`: {FORM}");
    let parts: Vec<&str> = text.split(':').collect();
    let [object, namespace, first, count, rights] = parts[..] else {
        return Err(wrong());
    };
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    Ok(Wanted {
        object: number(object)?,
        namespace: u32::try_from(number(namespace)?).map_err(|_| wrong())?,
        first: number(first)?,
        count: number(count)?,
        writable: match rights {
            "r" => false,
            "rw" => true,
            _ => return Err(wrong()),
        },
    })
}

impl Wanted {
    fn on(&self, driver: &impl BlockDriver) -> Result<Range, String> {
        let Self {
            object,
            first,
            count,
            ..
        } = *self;
        let namespace = NamespaceId(self.namespace);
        let limits = driver
            .limits(namespace)
            .ok_or_else(|| format!("the device has no namespace {}", self.namespace))?;
        let capacity = limits.capacity.0;
        let blocks = match count {
            0 => capacity.saturating_sub(first),
            count => count,
        };
        let end = first.checked_add(blocks);
        if blocks == 0 || end.is_none_or(|end| end > capacity) || object >= 1 << 32 {
            return Err(format!(
                "the range of object {object} is not inside of the {capacity} blocks of namespace {}",
                self.namespace
            ));
        }
        let limits = BlockLimits {
            capacity: BlockCount(blocks),
            ..limits
        };
        Ok(Range {
            object,
            namespace,
            extent: Extent::new(Lba(first), &limits),
            writable: self.writable,
            limits,
        })
    }
}
