//! What can be done, each as the sequence of its steps.

mod admin;
mod attempt;
mod authenticate;
mod clock;
mod delivery;
mod explain;
mod factors;
mod first_factor;
mod known_device;
mod led_on;
mod login;
mod logout;
mod new_password;
mod own_account;
mod repeat;
mod reseal;
mod restored;
mod second_factor;
mod sign_in;
mod tickets;
mod trusted_devices;
mod upkeep;

pub use admin::{FactorDue, FirstPassword, NewAccount, PreparedAccount, RequirementOf};
pub use authenticate::{Activity, Authentication};
pub use explain::{Explanation, Met, RuleCheck};
pub use factors::{Enrolled, FactorSummary};
pub use known_device::Renewed;
pub use led_on::{LedOn, LoginAgain};
pub use login::{Login, Replaced};
pub use own_account::FRESH_FOR;
pub use repeat::{Begun, First, REPEATABLE_FOR};
pub use reseal::{KeyInUse, Resealing, Retirement};
pub use restored::Restoration;
pub use second_factor::{Asked, Claimant, INTERRUPTED_FOR, Offer, Used};
pub use sign_in::SignedIn;
pub use upkeep::Upkeep;
