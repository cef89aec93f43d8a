-- The family's tables on MySQL and MariaDB, as the migrations of iam-store-mysql make them. Made by a program: don't
-- edit. For reading, and for who must create tables by hand: `MySqlStore::migrate` makes the same, and a program asks
-- for the record that it keeps in `iam_schema_migrations`.

CREATE TABLE `iam_auth_log` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `at` datetime(6) NOT NULL,
  `last_at` datetime(6) NOT NULL,
  `count` bigint NOT NULL DEFAULT '1',
  `event` varchar(64) COLLATE utf8mb4_bin NOT NULL,
  `outcome` varchar(16) COLLATE utf8mb4_bin NOT NULL,
  `target_kind` varchar(32) COLLATE utf8mb4_bin DEFAULT NULL,
  `target` varchar(255) COLLATE utf8mb4_bin DEFAULT NULL,
  `reason` text COLLATE utf8mb4_bin,
  `actor_id` binary(16) DEFAULT NULL,
  `account_id` binary(16) DEFAULT NULL,
  `parent_id` binary(16) DEFAULT NULL,
  `session_id` binary(16) DEFAULT NULL,
  `amr` varchar(255) COLLATE utf8mb4_bin DEFAULT NULL,
  `identifier` varchar(255) COLLATE utf8mb4_bin DEFAULT NULL,
  `client_address` varchar(45) COLLATE utf8mb4_bin DEFAULT NULL,
  `user_agent` text COLLATE utf8mb4_bin,
  `request_id` text COLLATE utf8mb4_bin,
  PRIMARY KEY (`id`),
  KEY `iam_auth_log_account` (`account_id`,`id`),
  KEY `iam_auth_log_actor` (`actor_id`,`id`),
  KEY `iam_auth_log_event` (`event`,`id`),
  KEY `iam_auth_log_parent` (`parent_id`,`id`),
  KEY `iam_auth_log_target` (`target_kind`,`target`,`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_auth_tally` (
  `coalesce_key` binary(32) NOT NULL,
  `at` datetime(6) NOT NULL,
  `last_at` datetime(6) NOT NULL,
  `count` bigint NOT NULL,
  `event` varchar(64) COLLATE utf8mb4_bin NOT NULL,
  `outcome` varchar(16) COLLATE utf8mb4_bin NOT NULL,
  `target_kind` varchar(32) COLLATE utf8mb4_bin DEFAULT NULL,
  `target` varchar(255) COLLATE utf8mb4_bin DEFAULT NULL,
  `reason` text COLLATE utf8mb4_bin,
  `actor_id` binary(16) DEFAULT NULL,
  `account_id` binary(16) DEFAULT NULL,
  `parent_id` binary(16) DEFAULT NULL,
  `session_id` binary(16) DEFAULT NULL,
  `amr` varchar(255) COLLATE utf8mb4_bin DEFAULT NULL,
  `identifier` varchar(255) COLLATE utf8mb4_bin DEFAULT NULL,
  `client_address` varchar(45) COLLATE utf8mb4_bin DEFAULT NULL,
  `user_agent` text COLLATE utf8mb4_bin,
  `request_id` text COLLATE utf8mb4_bin,
  PRIMARY KEY (`coalesce_key`),
  KEY `iam_auth_tally_at` (`at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_clock` (
  `id` tinyint NOT NULL,
  `seen_at` datetime(6) NOT NULL,
  PRIMARY KEY (`id`),
  CONSTRAINT `iam_clock_one_row` CHECK ((`id` = 1))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_key_canary` (
  `key_id` int unsigned NOT NULL,
  `sealed` varbinary(1024) NOT NULL,
  PRIMARY KEY (`key_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_parent` (
  `id` binary(16) NOT NULL,
  `key` varbinary(63) NOT NULL,
  `name` text COLLATE utf8mb4_bin NOT NULL,
  `status` varchar(16) COLLATE utf8mb4_bin NOT NULL,
  `created_at` datetime(6) NOT NULL,
  `updated_at` datetime(6) NOT NULL,
  `factor_required_at` datetime(6) DEFAULT NULL,
  `factor_grace` bigint DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `iam_parent_key` (`key`),
  CONSTRAINT `iam_parent_status` CHECK ((`status` in ('active','suspended')))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_rate_limit` (
  `key` binary(32) NOT NULL,
  `count` bigint NOT NULL,
  `number` bigint NOT NULL,
  `since` bigint NOT NULL,
  `last_at` bigint NOT NULL,
  `blocked_until` bigint NOT NULL,
  `expires_before` bigint NOT NULL,
  `expires_at` bigint NOT NULL,
  PRIMARY KEY (`key`),
  KEY `iam_rate_limit_expiry` (`expires_at`),
  CONSTRAINT `iam_rate_limit_count` CHECK ((`count` >= 0))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_repeatable_answer` (
  `old_token` binary(32) NOT NULL,
  `request` binary(32) NOT NULL,
  `session_id` binary(16) NOT NULL,
  `slot` tinyint NOT NULL,
  `token_hash` binary(32) DEFAULT NULL,
  `answer` blob,
  `at` datetime(6) NOT NULL,
  PRIMARY KEY (`old_token`,`request`),
  UNIQUE KEY `iam_repeatable_answer_slot` (`session_id`,`slot`),
  KEY `iam_repeatable_answer_at` (`at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_role` (
  `id` binary(16) NOT NULL,
  `name` varbinary(64) NOT NULL,
  `description` text COLLATE utf8mb4_bin NOT NULL,
  `created_at` datetime(6) NOT NULL,
  `factor_required_at` datetime(6) DEFAULT NULL,
  `factor_grace` bigint DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `iam_role_name` (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_schema` (
  `id` tinyint NOT NULL,
  `min_program` bigint NOT NULL,
  PRIMARY KEY (`id`),
  CONSTRAINT `iam_schema_one_row` CHECK ((`id` = 1))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_schema_migrations` (
  `version` bigint NOT NULL,
  `description` text COLLATE utf8mb4_bin NOT NULL,
  `installed_on` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `success` tinyint(1) NOT NULL,
  `checksum` blob NOT NULL,
  `execution_time` bigint NOT NULL,
  PRIMARY KEY (`version`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_user_account` (
  `id` binary(16) NOT NULL,
  `username` varbinary(254) NOT NULL,
  `email` varbinary(254) DEFAULT NULL,
  `email_verified_at` datetime(6) DEFAULT NULL,
  `phone_number` varbinary(32) DEFAULT NULL,
  `password_hash` varbinary(1024) DEFAULT NULL,
  `status` varchar(16) COLLATE utf8mb4_bin NOT NULL,
  `parent_id` binary(16) DEFAULT NULL,
  `auth_version` bigint NOT NULL,
  `external_id` varbinary(255) DEFAULT NULL,
  `created_at` datetime(6) NOT NULL,
  `updated_at` datetime(6) NOT NULL,
  `verified_email` varbinary(254) GENERATED ALWAYS AS ((case when (`email_verified_at` is not null) then `email` end)) STORED,
  `password_changed_at` datetime(6) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `iam_user_account_username` (`username`),
  UNIQUE KEY `iam_user_account_verified_email` (`verified_email`),
  UNIQUE KEY `iam_user_account_external_id` (`external_id`),
  KEY `iam_user_account_parent` (`parent_id`),
  CONSTRAINT `iam_user_account_in_parent` FOREIGN KEY (`parent_id`) REFERENCES `iam_parent` (`id`),
  CONSTRAINT `iam_user_account_auth_version` CHECK ((`auth_version` > 0)),
  CONSTRAINT `iam_user_account_status` CHECK ((`status` in ('active','disabled','locked')))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_auth_session` (
  `id` binary(16) NOT NULL,
  `account_id` binary(16) NOT NULL,
  `token_hash` binary(32) DEFAULT NULL,
  `state` varchar(16) COLLATE utf8mb4_bin NOT NULL,
  `auth_version` bigint NOT NULL,
  `amr` varchar(255) COLLATE utf8mb4_bin NOT NULL,
  `proofs` varchar(1024) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
  `tries` int unsigned NOT NULL DEFAULT '0',
  `login_time` datetime(6) NOT NULL,
  `last_seen_at` datetime(6) NOT NULL,
  `ended_at` datetime(6) DEFAULT NULL,
  `end_reason` varchar(32) COLLATE utf8mb4_bin DEFAULT NULL,
  `logout_time` datetime(6) DEFAULT NULL,
  `client_address` varchar(45) COLLATE utf8mb4_bin DEFAULT NULL,
  `user_agent` text COLLATE utf8mb4_bin,
  `live_account_id` binary(16) GENERATED ALWAYS AS ((case when (`ended_at` is null) then `account_id` end)) STORED,
  `secret_ended_at` datetime(6) GENERATED ALWAYS AS ((case when (`token_hash` is not null) then `ended_at` end)) STORED,
  `long_lived` tinyint NOT NULL DEFAULT '0',
  `lapsed_at` datetime(6) DEFAULT NULL,
  `previous_token_hash` binary(32) DEFAULT NULL,
  `token_made_at` datetime(6) DEFAULT NULL,
  `token_used_at` datetime(6) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `iam_auth_session_token` (`token_hash`),
  UNIQUE KEY `iam_auth_session_previous` (`previous_token_hash`),
  KEY `iam_auth_session_account` (`account_id`),
  KEY `iam_auth_session_live` (`live_account_id`),
  KEY `iam_auth_session_secret` (`secret_ended_at`),
  KEY `iam_auth_session_unseen` (`ended_at`,`long_lived`,`last_seen_at`),
  CONSTRAINT `iam_auth_session_of_account` FOREIGN KEY (`account_id`) REFERENCES `iam_user_account` (`id`),
  CONSTRAINT `iam_auth_session_end` CHECK (((`ended_at` is null) = (`end_reason` is null))),
  CONSTRAINT `iam_auth_session_state` CHECK ((`state` in ('pending','active')))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_interrupted_request` (
  `id` binary(16) NOT NULL,
  `account_id` binary(16) NOT NULL,
  `session_id` binary(16) NOT NULL,
  `sealed` mediumblob NOT NULL,
  `created_at` datetime(6) NOT NULL,
  `expires_at` datetime(6) NOT NULL,
  `resumed_at` datetime(6) DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `iam_interrupted_request_account` (`account_id`),
  KEY `iam_interrupted_request_session` (`session_id`,`created_at`),
  KEY `iam_interrupted_request_expiry` (`expires_at`),
  CONSTRAINT `iam_interrupted_request_of_account` FOREIGN KEY (`account_id`) REFERENCES `iam_user_account` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_mfa_challenge` (
  `id` binary(16) NOT NULL,
  `account_id` binary(16) NOT NULL,
  `session_id` binary(16) NOT NULL,
  `purpose` varchar(32) COLLATE utf8mb4_bin NOT NULL,
  `kind` varchar(32) COLLATE utf8mb4_bin NOT NULL,
  `method_id` binary(16) DEFAULT NULL,
  `kept` varbinary(4160) DEFAULT NULL,
  `sends` int unsigned NOT NULL,
  `tries` int unsigned NOT NULL DEFAULT '0',
  `created_at` datetime(6) NOT NULL,
  `expires_at` datetime(6) NOT NULL,
  `consumed_at` datetime(6) DEFAULT NULL,
  `replaced_at` datetime(6) DEFAULT NULL,
  `approval` binary(32) DEFAULT NULL,
  `place_key` binary(32) DEFAULT NULL,
  `place_since` bigint DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `iam_mfa_challenge_account` (`account_id`),
  KEY `iam_mfa_challenge_session` (`session_id`,`purpose`,`kind`),
  KEY `iam_mfa_challenge_expiry` (`expires_at`),
  KEY `iam_mfa_challenge_unanswered` (`consumed_at`,`expires_at`),
  CONSTRAINT `iam_mfa_challenge_of_account` FOREIGN KEY (`account_id`) REFERENCES `iam_user_account` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_mfa_method` (
  `id` binary(16) NOT NULL,
  `account_id` binary(16) NOT NULL,
  `kind` varchar(32) COLLATE utf8mb4_bin NOT NULL,
  `name` varbinary(255) NOT NULL,
  `secret` varbinary(1024) DEFAULT NULL,
  `lookup` varbinary(1023) DEFAULT NULL,
  `created_at` datetime(6) NOT NULL,
  `confirmed_at` datetime(6) DEFAULT NULL,
  `last_used_at` datetime(6) DEFAULT NULL,
  `last_step` bigint DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `iam_mfa_method_lookup` (`kind`,`lookup`),
  KEY `iam_mfa_method_account` (`account_id`,`created_at`),
  KEY `iam_mfa_method_unconfirmed` (`confirmed_at`,`created_at`),
  CONSTRAINT `iam_mfa_method_of_account` FOREIGN KEY (`account_id`) REFERENCES `iam_user_account` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_outbox` (
  `id` binary(16) NOT NULL,
  `account_id` binary(16) NOT NULL,
  `challenge_id` binary(16) DEFAULT NULL,
  `channel` varchar(16) COLLATE utf8mb4_bin NOT NULL,
  `sealed` varbinary(8192) DEFAULT NULL,
  `state` varchar(16) COLLATE utf8mb4_bin NOT NULL,
  `attempts` int unsigned NOT NULL DEFAULT '0',
  `lost` int unsigned NOT NULL DEFAULT '0',
  `created_at` datetime(6) NOT NULL,
  `expires_at` datetime(6) NOT NULL,
  `next_attempt_at` datetime(6) NOT NULL,
  `claimed_at` datetime(6) DEFAULT NULL,
  `settled_at` datetime(6) DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `iam_outbox_account` (`account_id`),
  KEY `iam_outbox_challenge` (`challenge_id`),
  KEY `iam_outbox_waiting` (`state`,`next_attempt_at`),
  KEY `iam_outbox_claimed` (`state`,`claimed_at`),
  KEY `iam_outbox_unsettled` (`settled_at`,`expires_at`),
  KEY `iam_outbox_made` (`created_at`),
  CONSTRAINT `iam_outbox_of_account` FOREIGN KEY (`account_id`) REFERENCES `iam_user_account` (`id`),
  CONSTRAINT `iam_outbox_open` CHECK (((`state` not in ('waiting','claimed')) or (`settled_at` is null))),
  CONSTRAINT `iam_outbox_taken` CHECK (((`state` = 'claimed') = (`claimed_at` is not null))),
  CONSTRAINT `iam_outbox_wiped` CHECK (((`sealed` is null) = (`settled_at` is not null)))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_recovery_code` (
  `account_id` binary(16) NOT NULL,
  `digest` binary(32) NOT NULL,
  `created_at` datetime(6) NOT NULL,
  `used_at` datetime(6) DEFAULT NULL,
  PRIMARY KEY (`account_id`,`digest`),
  CONSTRAINT `iam_recovery_code_of_account` FOREIGN KEY (`account_id`) REFERENCES `iam_user_account` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_step_up_proof` (
  `id` binary(16) NOT NULL,
  `session_id` binary(16) NOT NULL,
  `account_id` binary(16) NOT NULL,
  `parent_id` binary(16) DEFAULT NULL,
  `auth_version` bigint NOT NULL,
  `purpose` varchar(32) COLLATE utf8mb4_bin NOT NULL,
  `kind` varchar(32) COLLATE utf8mb4_bin NOT NULL,
  `approval` binary(32) DEFAULT NULL,
  `proved_at` datetime(6) NOT NULL,
  `used_at` datetime(6) DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `iam_step_up_proof_account` (`account_id`),
  KEY `iam_step_up_proof_session` (`session_id`,`used_at`,`proved_at`),
  KEY `iam_step_up_proof_age` (`proved_at`),
  CONSTRAINT `iam_step_up_proof_of_account` FOREIGN KEY (`account_id`) REFERENCES `iam_user_account` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_ticket` (
  `id` binary(16) NOT NULL,
  `token_hash` binary(32) NOT NULL,
  `purpose` varchar(32) COLLATE utf8mb4_bin NOT NULL,
  `account_id` binary(16) DEFAULT NULL,
  `parent_id` binary(16) DEFAULT NULL,
  `payload` varbinary(4096) DEFAULT NULL,
  `created_at` datetime(6) NOT NULL,
  `expires_at` datetime(6) NOT NULL,
  `used_at` datetime(6) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `iam_ticket_token` (`token_hash`),
  KEY `iam_ticket_account` (`account_id`,`purpose`),
  KEY `iam_ticket_expiry` (`expires_at`),
  KEY `iam_ticket_parent` (`parent_id`),
  CONSTRAINT `iam_ticket_of_account` FOREIGN KEY (`account_id`) REFERENCES `iam_user_account` (`id`),
  CONSTRAINT `iam_ticket_of_parent` FOREIGN KEY (`parent_id`) REFERENCES `iam_parent` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_trusted_device` (
  `id` binary(16) NOT NULL,
  `account_id` binary(16) NOT NULL,
  `token_hash` binary(32) NOT NULL,
  `auth_version` bigint NOT NULL,
  `created_at` datetime(6) NOT NULL,
  `expires_at` datetime(6) NOT NULL,
  `client_address` varchar(45) COLLATE utf8mb4_bin DEFAULT NULL,
  `user_agent` text COLLATE utf8mb4_bin,
  PRIMARY KEY (`id`),
  UNIQUE KEY `iam_trusted_device_token` (`token_hash`),
  KEY `iam_trusted_device_account` (`account_id`),
  KEY `iam_trusted_device_expiry` (`expires_at`),
  CONSTRAINT `iam_trusted_device_of_account` FOREIGN KEY (`account_id`) REFERENCES `iam_user_account` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_user_role` (
  `account_id` binary(16) NOT NULL,
  `role_id` binary(16) NOT NULL,
  `source` varchar(64) COLLATE utf8mb4_bin NOT NULL DEFAULT 'local',
  `granted_by` binary(16) DEFAULT NULL,
  `granted_at` datetime(6) NOT NULL,
  `expires_at` datetime(6) DEFAULT NULL,
  PRIMARY KEY (`account_id`,`role_id`,`source`),
  KEY `iam_user_role_role` (`role_id`),
  CONSTRAINT `iam_user_role_of_account` FOREIGN KEY (`account_id`) REFERENCES `iam_user_account` (`id`),
  CONSTRAINT `iam_user_role_of_role` FOREIGN KEY (`role_id`) REFERENCES `iam_role` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE `iam_delivery_attempt` (
  `message_id` binary(16) NOT NULL,
  `attempt` int unsigned NOT NULL,
  `position` int unsigned NOT NULL,
  `provider` varbinary(64) NOT NULL,
  `reference` varbinary(255) DEFAULT NULL,
  `outcome` varchar(16) COLLATE utf8mb4_bin NOT NULL,
  `cost_micros` bigint DEFAULT NULL,
  `at` datetime(6) NOT NULL,
  PRIMARY KEY (`message_id`,`attempt`,`position`),
  KEY `iam_delivery_attempt_reference` (`provider`,`reference`),
  CONSTRAINT `iam_delivery_attempt_of_message` FOREIGN KEY (`message_id`) REFERENCES `iam_outbox` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

INSERT INTO `iam_schema` (`id`, `min_program`) VALUES (1, 16);
