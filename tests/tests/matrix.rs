//! Every scenario on every adapter and store.

macro_rules! scenarios {
    ($adapter:ident, $backend:ident; $($name:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            iam_tests::scenarios::$name(iam_tests::Adapter::$adapter, iam_tests::Backend::$backend).await;
        }
    )*};
}

mod axum_sqlite {
    iam_tests::every_scenario!(scenarios, Axum, Sqlite);
}
