use super::{
    AccountReads, Accounts, AuditLog, AuditReads, AuditRetention, ChallengeReads, Challenges,
    InterruptedRequestReads, InterruptedRequests, KeyCanaries, KeyCanaryReads, Limits, MethodReads, Methods,
    Outbox, OutboxReads, ParentReads, Parents, RecoveryCodeReads, RecoveryCodes, RepeatableAnswerReads,
    RepeatableAnswers, RoleReads, Roles, SealedValueReads, SealedValues, SeenTime, SessionReads, Sessions,
    StepUpProofReads, StepUpProofs, TicketReads, Tickets, TrustedDeviceReads, TrustedDevices,
};

/// The one table of what a store keeps: calls a macro with `reads { accounts: AccountReads; ... }` and `ports { accounts: Accounts; ... }`.
/// Stores make their accessors of it.
#[macro_export]
macro_rules! for_each_port {
    ($callback:ident) => {
        $callback! {
            reads {
                accounts: AccountReads;
                parents: ParentReads;
                roles: RoleReads;
                sessions: SessionReads;
                methods: MethodReads;
                recovery_codes: RecoveryCodeReads;
                challenges: ChallengeReads;
                step_up_proofs: StepUpProofReads;
                interrupted_requests: InterruptedRequestReads;
                repeatable_answers: RepeatableAnswerReads;
                trusted_devices: TrustedDeviceReads;
                outbox: OutboxReads;
                sealed_values: SealedValueReads;
                audit: AuditReads;
                keys: KeyCanaryReads;
                tickets: TicketReads;
            }
            ports {
                accounts: Accounts;
                parents: Parents;
                roles: Roles;
                sessions: Sessions;
                methods: Methods;
                recovery_codes: RecoveryCodes;
                challenges: Challenges;
                step_up_proofs: StepUpProofs;
                interrupted_requests: InterruptedRequests;
                repeatable_answers: RepeatableAnswers;
                trusted_devices: TrustedDevices;
                outbox: Outbox;
                sealed_values: SealedValues;
                audit: AuditLog;
                audit_retention: AuditRetention;
                keys: KeyCanaries;
                tickets: Tickets;
                limits: Limits;
                seen_time: SeenTime;
            }
        }
    };
}

macro_rules! define {
    (reads { $($read:ident: $reads:ident;)* } ports { $($port:ident: $writes:ident;)* }) => {
        /// What can be read, beside any unit of work or in one.
        pub trait Reads: Send {
            $(
                #[doc = concat!("See [`", stringify!($reads), "`].")]
                fn $read(&mut self) -> &mut dyn $reads;
            )*
        }

        /// What one transaction can read and write, of this library or of the host's.
        pub trait Ports: Send {
            $(
                #[doc = concat!("See [`", stringify!($writes), "`].")]
                fn $port(&mut self) -> &mut dyn $writes;
            )*
        }
    };
}

for_each_port!(define);
