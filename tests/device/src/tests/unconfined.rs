//! Without an IOMMU and without `dma=trust`: no DMA at all.

use driver_sdk::prelude::*;
use guest_harness::harness::{Outcome, equal, tests};
use spillway_hal::{Device, DmaConstraints, HalErrorKind, ToDevice};
use spillway_native::Function;

use crate::machine::disk;

tests![without_an_iommu_there_is_no_dma];

fn without_an_iommu_there_is_no_dma() -> Outcome {
    let disk = disk()?;
    equal!(disk.dma_space().map(drop), Err(Error::NoIommu));
    equal!(disk.set_bus_master(true), Err(Error::Refused));
    let function = Function::new(disk)?;
    let error = function.allocate::<ToDevice>(4096, DmaConstraints::default());
    let error = error.map(drop).unwrap_err();
    equal!(error.kind, HalErrorKind::Refused);
    equal!(error.reason, Error::NoIommu.describe());
    let error = function.set_bus_master(true).unwrap_err();
    equal!(error.reason, Error::NoIommu.describe());
    Ok(())
}
