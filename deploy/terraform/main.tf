# Names, sizes and settings: what the other files share.

data "google_project" "this" {
  project_id = local.project
}

locals {
  # The same text as var.project; whoever uses this one waits until the services are enabled.
  project = one(distinct(concat([var.project], [for service in google_project_service.needed : service.project])))
  number  = data.google_project.this.number

  labels = merge(var.labels, { app = "celldrop", deployment = var.prefix })

  flavor    = jsondecode(file("${path.module}/../flavors/${var.flavor}.json"))
  functions = local.flavor.functions
  jobs      = local.flavor.jobs
  timeout   = "${local.flavor.tasks.timeout_s}s"

  # Names of buckets are the world's: the project's id makes them ours.
  buckets  = { for name in ["inbox", "models", "work", "results"] : name => "${var.prefix}-${name}-${var.project}" }
  topics   = { for name in ["requests", "jobs", "events"] : name => "${var.prefix}-${name}" }
  database = "${var.prefix}-submissions"

  image_repository = var.image_repository != "" ? var.image_repository : "${var.region}-docker.pkg.dev/${var.project}/${var.prefix}"
  images = {
    functions = "${local.image_repository}/celldrop-functions:${var.image_tag}"
    cpu       = "${local.image_repository}/celldrop-inference:${var.image_tag}"
    gpu       = "${local.image_repository}/celldrop-inference-cuda:${var.image_tag}"
  }

  secret_name    = split(":", var.config_secret)[0]
  secret_version = try(split(":", var.config_secret)[1], "")
  config_folder  = "/etc/celldrop"

  vpc_connector = var.vpc_connector == "" || strcontains(var.vpc_connector, "/") ? var.vpc_connector : "projects/${var.project}/locations/${var.region}/connectors/${var.vpc_connector}"

  # docs/reference/settings.md. What they name is made here under these very names.
  own_environment = merge(
    {
      CELLDROP_BACKEND            = "gcp"
      CELLDROP_PROJECT            = var.project
      CELLDROP_REGION             = var.region
      CELLDROP_INBOX_BUCKET       = local.buckets.inbox
      CELLDROP_MODELS_BUCKET      = local.buckets.models
      CELLDROP_WORK_BUCKET        = local.buckets.work
      CELLDROP_RESULTS_BUCKET     = local.buckets.results
      CELLDROP_ALLOWED_BUCKETS    = join(",", sort(var.allowed_buckets))
      CELLDROP_REQUESTS_TOPIC     = local.topics.requests
      CELLDROP_JOBS_TOPIC         = local.topics.jobs
      CELLDROP_EVENTS_TOPIC       = local.topics.events
      CELLDROP_FIRESTORE_DATABASE = local.database
      CELLDROP_CPU_JOB            = "${var.prefix}-cpu"
      CELLDROP_GPU_JOB            = contains(keys(local.jobs), "gpu") ? "${var.prefix}-gpu" : ""
      CELLDROP_ROWS_PER_TASK      = tostring(local.flavor.tasks.rows_per_task)
      CELLDROP_MAX_TASKS          = tostring(local.flavor.tasks.max_tasks)
      CELLDROP_TASK_TIMEOUT_S     = tostring(local.flavor.tasks.timeout_s)
      CELLDROP_INGEST_TIMEOUT_S   = tostring(local.functions.ingest.timeout_s)
      CELLDROP_RECORD_DAYS        = tostring(var.record_days)
      # A pass ends by itself before Cloud Run would cut it off, with time for what it is working on.
      CELLDROP_RECONCILE_S = tostring(floor(local.functions.reconcile.timeout_s * 0.7))
      # Cloud Run itself lets nobody in but the invokers below, and takes the signature off a token that it has checked:
      # a second check in code would refuse everybody (docs/adr/0007).
      CELLDROP_PUSH_AUTH   = "platform"
      CELLDROP_STATUS_AUTH = "platform"
    },
    # What the planner reckons with: the machines of the jobs as they are.
    merge([
      for kind, job in local.jobs : {
        "CELLDROP_${upper(kind)}_VCPUS"      = tostring(job.cpu)
        "CELLDROP_${upper(kind)}_MEMORY_MIB" = tostring(job.memory_mib)
        "CELLDROP_${upper(kind)}_PARALLEL"   = tostring(job.parallelism)
      }
    ]...),
    var.config_secret == "" ? {} : { CELLDROP_ENV_FILE = "${local.config_folder}/.env" },
  )
  environment = merge(var.settings, local.own_environment)

  services = concat(
    [
      "artifactregistry", "cloudresourcemanager", "cloudscheduler", "eventarc", "firestore", "iam", "iamcredentials",
      "logging", "monitoring", "pubsub", "run", "storage",
    ],
    var.config_secret == "" ? [] : ["secretmanager"],
    var.sql_instance == "" ? [] : ["sqladmin"],
    var.vpc_connector == "" ? [] : ["vpcaccess"],
    var.billing_account == "" ? [] : ["billingbudgets"],
  )
}

resource "google_project_service" "needed" {
  for_each = toset(var.enable_services ? local.services : [])

  project            = var.project
  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false # Others in the project may use it.
}

resource "google_artifact_registry_repository" "images" {
  count = var.image_repository == "" ? 1 : 0

  project       = local.project
  location      = var.region
  repository_id = var.prefix
  description   = "Images of celldrop."
  format        = "DOCKER"

  # A tagged image may be what runs, or what to roll back to.
  cleanup_policies {
    id     = "delete-untagged"
    action = "DELETE"

    condition {
      tag_state  = "UNTAGGED"
      older_than = "2592000s"
    }
  }
}
