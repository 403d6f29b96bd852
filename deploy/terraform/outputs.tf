output "inbox_url" {
  description = "Where files are dropped."
  value       = "gs://${google_storage_bucket.bucket["inbox"].name}"
}

output "upload_command" {
  description = "Drops a file from the command line."
  value       = "gcloud storage cp sample.h5ad gs://${google_storage_bucket.bucket["inbox"].name}/"
}

output "results_url" {
  description = "Where results are stored, under their submission's id."
  value       = "gs://${google_storage_bucket.bucket["results"].name}"
}

output "models_command" {
  description = "Uploads the bundles of a checkout, NAME/VERSION/; without a model nothing can be annotated."
  value       = "gcloud storage cp --recursive models/* gs://${google_storage_bucket.bucket["models"].name}/"
}

output "status_url" {
  description = "The web page and API; a caller needs a Google identity token."
  value       = google_cloud_run_v2_service.function["status"].uri
}

output "status_command" {
  description = "Opens the page on this machine, as whoever gcloud is logged in as."
  value       = "gcloud run services proxy ${google_cloud_run_v2_service.function["status"].name} --project=${var.project} --region=${var.region} --port=8080"
}

output "buckets" {
  description = "The buckets, by what they hold."
  value       = { for key, bucket in google_storage_bucket.bucket : key => bucket.name }
}

output "topics" {
  description = "The Pub/Sub topics, by what they carry."
  value       = { for key, topic in google_pubsub_topic.topic : key => topic.name }
}

output "subscriptions" {
  description = "What is pulled from: the events, and what was given up of each topic."
  value = merge(
    { events = google_pubsub_subscription.events.name },
    { for key, subscription in google_pubsub_subscription.dead : "${key}_dead" => subscription.name },
  )
}

output "services" {
  description = "The Cloud Run services, by function."
  value       = { for key, service in google_cloud_run_v2_service.function : key => service.name }
}

output "jobs" {
  description = "The Cloud Run jobs, by accelerator."
  value       = { for key, job in google_cloud_run_v2_job.job : key => job.name }
}

output "database" {
  description = "The Firestore database."
  value       = google_firestore_database.submissions.name
}

output "service_accounts" {
  description = "Which service account each part runs as."
  value       = { for part, account in local.account_of : part => local.emails[account] }
}

output "image_repository" {
  description = "Where images are pushed to and taken from."
  value       = local.image_repository
}

output "images" {
  description = "The images that run."
  value       = { for key in concat(["functions"], keys(local.jobs)) : key => local.images[key] }
}

output "environment" {
  description = "The settings that functions and tasks run with, by name."
  value       = local.environment
}

output "env_file" {
  description = "Settings with which celldrop works against this deployment, as an .env file."
  value       = join("", [for name, value in local.environment : "${name}=${value}\n" if name != "CELLDROP_ENV_FILE"])
}
