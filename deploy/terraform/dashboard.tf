# One page: what comes in, what waits, what runs, what fails.

locals {
  services_filter = "resource.type=\"cloud_run_revision\" resource.label.service_name=monitoring.regex.full_match(\"${var.prefix}-(ingest|dispatch|status|reconcile)\")"
  jobs_filter     = "resource.type=\"cloud_run_job\" resource.label.job_name=monitoring.regex.full_match(\"${var.prefix}-(cpu|gpu)\")"
  pushes_filter   = "resource.type=\"pubsub_subscription\" resource.label.subscription_id=monitoring.regex.full_match(\"${var.prefix}-(jobs|requests|events).*|eventarc-${var.region}-${var.prefix}-inbox-.*\")"

  charts = [
    {
      title   = "Requests a minute, by function and answer"
      filter  = "metric.type=\"run.googleapis.com/request_count\" ${local.services_filter}"
      align   = "ALIGN_DELTA"
      reduce  = "REDUCE_SUM"
      by      = ["resource.label.service_name", "metric.label.response_code_class"]
      y_label = "requests"
    },
    {
      title   = "Time to answer, 95th percentile"
      filter  = "metric.type=\"run.googleapis.com/request_latencies\" ${local.services_filter}"
      align   = "ALIGN_PERCENTILE_95"
      reduce  = "REDUCE_MAX"
      by      = ["resource.label.service_name"]
      y_label = "ms"
    },
    {
      title   = "Executions that ended, by result"
      filter  = "metric.type=\"run.googleapis.com/job/completed_execution_count\" ${local.jobs_filter}"
      align   = "ALIGN_DELTA"
      reduce  = "REDUCE_SUM"
      by      = ["resource.label.job_name", "metric.label.result"]
      y_label = "executions"
    },
    {
      title   = "Task attempts that ended, by result"
      filter  = "metric.type=\"run.googleapis.com/job/completed_task_attempt_count\" ${local.jobs_filter}"
      align   = "ALIGN_DELTA"
      reduce  = "REDUCE_SUM"
      by      = ["resource.label.job_name", "metric.label.result"]
      y_label = "attempts"
    },
    {
      title   = "Memory of tasks, 95th percentile"
      filter  = "metric.type=\"run.googleapis.com/container/memory/utilizations\" ${local.jobs_filter}"
      align   = "ALIGN_PERCENTILE_95"
      reduce  = "REDUCE_MAX"
      by      = ["resource.label.job_name"]
      y_label = "share"
    },
    {
      title   = "Processors of tasks, 95th percentile"
      filter  = "metric.type=\"run.googleapis.com/container/cpu/utilizations\" ${local.jobs_filter}"
      align   = "ALIGN_PERCENTILE_95"
      reduce  = "REDUCE_MAX"
      by      = ["resource.label.job_name"]
      y_label = "share"
    },
    {
      title   = "Longest wait of a message"
      filter  = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" ${local.pushes_filter}"
      align   = "ALIGN_MAX"
      reduce  = "REDUCE_MAX"
      by      = ["resource.label.subscription_id"]
      y_label = "s"
    },
    {
      title   = "Messages that wait; those of -dead were given up"
      filter  = "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" ${local.pushes_filter}"
      align   = "ALIGN_MAX"
      reduce  = "REDUCE_MAX"
      by      = ["resource.label.subscription_id"]
      y_label = "messages"
    },
  ]
}

resource "google_monitoring_dashboard" "overview" {
  count = var.monitoring ? 1 : 0

  project = local.project
  dashboard_json = jsonencode({
    displayName = "celldrop ${var.prefix}"
    labels      = { celldrop = "" }
    mosaicLayout = {
      columns = 12
      tiles = [
        for index, chart in local.charts : {
          xPos   = index % 2 * 6
          yPos   = floor(index / 2) * 4
          width  = 6
          height = 4
          widget = {
            title = chart.title
            xyChart = {
              yAxis = { label = chart.y_label, scale = "LINEAR" }
              dataSets = [{
                plotType = "LINE"
                timeSeriesQuery = {
                  timeSeriesFilter = {
                    filter = chart.filter
                    aggregation = {
                      alignmentPeriod    = "60s"
                      perSeriesAligner   = chart.align
                      crossSeriesReducer = chart.reduce
                      groupByFields      = chart.by
                    }
                  }
                }
              }]
            }
          }
        }
      ]
    }
  })
}
