# Who may do what, on nothing wider than it takes. docs/reference/deployment.md says why of each.

locals {
  # Each list is of (part, role, on). Where one account is given for all parts, what they share is granted once.
  bucket_grants = [
    { part = "ingest", role = "roles/storage.objectViewer", on = "inbox" },
    { part = "ingest", role = "roles/storage.objectViewer", on = "models" },
    { part = "task", role = "roles/storage.objectViewer", on = "inbox" },
    { part = "task", role = "roles/storage.objectViewer", on = "models" },
    { part = "task", role = "roles/storage.objectUser", on = "work" },
    { part = "task", role = "roles/storage.objectUser", on = "results" },
    { part = "reconcile", role = "roles/storage.objectUser", on = "work" },
    { part = "reconcile", role = "roles/storage.objectUser", on = "results" },
    { part = "status", role = "roles/storage.objectViewer", on = "results" },
  ]

  # What each pays of the outbox: whoever changes a record may have to tell dispatch, the world, or both.
  topic_grants = [
    { part = "ingest", role = "roles/pubsub.publisher", on = "jobs" },
    { part = "ingest", role = "roles/pubsub.publisher", on = "events" },
    { part = "dispatch", role = "roles/pubsub.publisher", on = "jobs" },
    { part = "dispatch", role = "roles/pubsub.publisher", on = "events" },
    { part = "reconcile", role = "roles/pubsub.publisher", on = "jobs" },
    { part = "reconcile", role = "roles/pubsub.publisher", on = "events" },
    { part = "task", role = "roles/pubsub.publisher", on = "jobs" },
    { part = "task", role = "roles/pubsub.publisher", on = "events" },
    { part = "status", role = "roles/pubsub.publisher", on = "events" },
  ]

  job_grants = flatten([
    for job in keys(local.jobs) : [
      { part = "dispatch", role = "roles/run.jobsExecutorWithOverrides", on = job },
      { part = "dispatch", role = "roles/run.viewer", on = job },
      { part = "reconcile", role = "roles/run.jobsExecutorWithOverrides", on = job },
      { part = "reconcile", role = "roles/run.viewer", on = job },
      { part = "status", role = "roles/run.jobsExecutor", on = job }, # To cancel; it starts nothing.
      { part = "status", role = "roles/run.viewer", on = job },
    ]
  ])

  calls = [
    { part = "trigger", role = "roles/run.invoker", on = "ingest" },
    { part = "push", role = "roles/run.invoker", on = "ingest" },
    { part = "push", role = "roles/run.invoker", on = "dispatch" },
    { part = "schedule", role = "roles/run.invoker", on = "reconcile" },
  ]

  # Firestore and Eventarc grant nothing narrower than a project; a condition holds the first to our database.
  database_only = "resource.name == \"projects/${var.project}/databases/${local.database}\""
  sql_only      = "resource.service == \"sqladmin.googleapis.com\" && resource.name == \"projects/${split(":", var.sql_instance)[0]}/instances/${try(split(":", var.sql_instance)[2], "")}\""

  workers = ["ingest", "dispatch", "status", "reconcile", "task"]
  project_grants = concat(
    [for part in local.workers : { part = part, role = "roles/datastore.user", only = local.database_only }],
    [for part in var.sql_instance == "" ? [] : local.workers : { part = part, role = "roles/cloudsql.client", only = local.sql_only }],
    [{ part = "trigger", role = "roles/eventarc.eventReceiver", only = "" }],
  )
}

resource "google_storage_bucket_iam_member" "part" {
  for_each = { for key, grants in { for grant in local.bucket_grants : "${local.account_of[grant.part]} ${grant.role} ${grant.on}" => grant... } : key => grants[0] }

  bucket = google_storage_bucket.bucket[each.value.on].name
  role   = each.value.role
  member = local.members[local.account_of[each.value.part]]
}

resource "google_storage_bucket_iam_member" "elsewhere" {
  for_each = { for pair in setproduct(distinct([local.account_of.ingest, local.account_of.task]), var.allowed_buckets) : join(" ", pair) => pair }

  bucket = each.value[1]
  role   = "roles/storage.objectViewer"
  member = local.members[each.value[0]]
}

resource "google_pubsub_topic_iam_member" "part" {
  for_each = { for key, grants in { for grant in local.topic_grants : "${local.account_of[grant.part]} ${grant.role} ${grant.on}" => grant... } : key => grants[0] }

  project = local.project
  topic   = google_pubsub_topic.topic[each.value.on].name
  role    = each.value.role
  member  = local.members[local.account_of[each.value.part]]
}

resource "google_cloud_run_v2_job_iam_member" "part" {
  for_each = { for key, grants in { for grant in local.job_grants : "${local.account_of[grant.part]} ${grant.role} ${grant.on}" => grant... } : key => grants[0] }

  project  = local.project
  location = var.region
  name     = google_cloud_run_v2_job.job[each.value.on].name
  role     = each.value.role
  member   = local.members[local.account_of[each.value.part]]
}

resource "google_cloud_run_v2_service_iam_member" "caller" {
  for_each = { for key, grants in { for grant in local.calls : "${local.account_of[grant.part]} ${grant.on}" => grant... } : key => grants[0] }

  project  = local.project
  location = var.region
  name     = google_cloud_run_v2_service.function[each.value.on].name
  role     = each.value.role
  member   = local.members[local.account_of[each.value.part]]
}

resource "google_project_iam_member" "part" {
  for_each = { for key, grants in { for grant in local.project_grants : "${local.account_of[grant.part]} ${grant.role}" => grant... } : key => grants[0] }

  project = local.project
  role    = each.value.role
  member  = local.members[local.account_of[each.value.part]]

  dynamic "condition" {
    for_each = each.value.only == "" ? [] : [each.value.only]

    content {
      title       = "celldrop ${var.prefix}"
      description = "Only what this deployment uses."
      expression  = condition.value
    }
  }
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = toset(var.config_secret == "" ? [] : distinct([for part in local.workers : local.account_of[part]]))

  project   = local.project
  secret_id = local.secret_name
  role      = "roles/secretmanager.secretAccessor"
  member    = local.members[each.key]
}
