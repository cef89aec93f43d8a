//! How many statements a request costs, counted by `MySQL`.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_cost_so_many_statements() {
    if iam_tests::Backend::MySql.is_there() {
        let (adapter, backend) = (iam_tests::Adapter::Axum, iam_tests::Backend::MySql);
        iam_tests::scenarios::requests_cost_so_many_statements(adapter, backend).await;
    }
}
