//! What can be done, each as the sequence of its steps.

mod administer;
mod administrators;
mod attempt;
mod authenticate;
mod clock;
mod delivery;
mod explain;
mod factors;
mod known_device;
mod login;
mod logout;
mod new_account;
mod new_password;
mod own_account;
mod repeat;
mod requirements;
mod reseal;
mod restored;
mod second_factor;
mod setup;
mod trusted_devices;
mod upkeep;

pub use administer::Actor;
pub use authenticate::{Activity, Authentication};
pub use explain::{Explanation, Met, RuleCheck};
pub use factors::{Enrolled, FactorSummary};
pub use known_device::Renewed;
pub use login::{Login, Replaced, SignedIn};
pub use new_account::{FirstPassword, NewAccount, PreparedAccount};
pub use own_account::FRESH_FOR;
pub use repeat::{Begun, First, REPEATABLE_FOR};
pub use requirements::{FactorDue, RequirementOf};
pub use reseal::{KeyInUse, Resealing, Retirement};
pub use restored::Restoration;
pub use second_factor::{Asked, Claimant, INTERRUPTED_FOR, Offer, Used};
pub use upkeep::Upkeep;
