# What Google's own agents need to do their part, and the people and systems that are let in.

# Eventarc has Cloud Storage publish to a topic that it makes itself, under a name that nobody knows before.
resource "google_project_iam_member" "storage_agent" {
  project = local.project
  role    = "roles/pubsub.publisher"
  member  = data.google_storage_project_service_account.agent.member
}

# Pub/Sub makes the tokens of those that it pushes as. Status may sign links to results as itself.
resource "google_service_account_iam_member" "signer" {
  for_each = toset(distinct([local.account_of.push, local.account_of.trigger]))

  service_account_id = local.account_names[each.key]
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.pubsub_agent

  depends_on = [google_pubsub_topic.topic] # Its agent is made by hand, once for a project (docs/how-to/operate.md).
}

# Whoever starts an execution with settings of its own has it act as the job's account.
resource "google_service_account_iam_member" "starter" {
  for_each = toset(distinct([local.account_of.dispatch, local.account_of.reconcile]))

  service_account_id = local.account_names[local.account_of.task]
  role               = "roles/iam.serviceAccountUser"
  member             = local.members[each.key]
}

resource "google_service_account_iam_member" "status_itself" {
  service_account_id = local.account_names[local.account_of.status]
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.members[local.account_of.status]
}

# Pub/Sub takes what is given up from a subscription, and puts it into a dead-letter topic.
resource "google_pubsub_topic_iam_member" "pubsub_agent" {
  for_each = local.topics

  project = local.project
  topic   = google_pubsub_topic.dead[each.key].name
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_agent

  depends_on = [google_pubsub_topic.topic]
}

resource "google_pubsub_subscription_iam_member" "pubsub_agent" {
  for_each = merge(
    { for topic, subscription in google_pubsub_subscription.push : topic => subscription.name },
    { events = google_pubsub_subscription.events.name },
  )

  project      = local.project
  subscription = each.value
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

resource "google_storage_bucket_iam_member" "user" {
  for_each = {
    for pair in setproduct(var.users, [["inbox", "roles/storage.objectCreator"], ["results", "roles/storage.objectViewer"]]) :
    "${pair[0]} ${pair[1][0]}" => { member = pair[0], bucket = pair[1][0], role = pair[1][1] }
  }

  bucket = google_storage_bucket.bucket[each.value.bucket].name
  role   = each.value.role
  member = each.value.member
}

resource "google_cloud_run_v2_service_iam_member" "user" {
  for_each = var.users

  project  = local.project
  location = var.region
  name     = google_cloud_run_v2_service.function["status"].name
  role     = "roles/run.invoker"
  member   = each.value
}

resource "google_pubsub_topic_iam_member" "requester" {
  for_each = var.requesters

  project = local.project
  topic   = google_pubsub_topic.topic["requests"].name
  role    = "roles/pubsub.publisher"
  member  = each.value
}

resource "google_pubsub_subscription_iam_member" "requester" {
  for_each = var.requesters

  project      = local.project
  subscription = google_pubsub_subscription.events.name
  role         = "roles/pubsub.subscriber"
  member       = each.value
}
