//! Every scenario on every adapter and store.

macro_rules! scenarios {
    ($adapter:ident, $backend:ident; $($name:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            if !iam_tests::Backend::$backend.is_there() {
                return;
            }
            iam_tests::scenarios::$name(iam_tests::Adapter::$adapter, iam_tests::Backend::$backend).await;
        }
    )*};
}

mod axum_sqlite {
    iam_tests::every_scenario!(scenarios, Axum, Sqlite);
}

mod axum_mysql {
    iam_tests::every_scenario!(scenarios, Axum, MySql);
}

mod axum_mariadb {
    iam_tests::every_scenario!(scenarios, Axum, MariaDb);
}

mod actix_sqlite {
    iam_tests::every_scenario!(scenarios, Actix, Sqlite);
}

mod actix_mysql {
    iam_tests::every_scenario!(scenarios, Actix, MySql);
}

mod actix_mariadb {
    iam_tests::every_scenario!(scenarios, Actix, MariaDb);
}
