# Who uses it, what it keeps, and what it tells.

variable "users" {
  description = "IAM members who may drop files in the inbox, read results, and call the status function."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for member in var.users : can(regex("^(user|group|domain|serviceAccount|principal|principalSet):.+$", member))])
    error_message = "Expected members like user:ada@example.org, group:lab@example.org or serviceAccount:lims@project.iam.gserviceaccount.com; never allUsers."
  }
}

variable "requesters" {
  description = "IAM members of other systems, which may publish requests and pull from the subscription of events."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for member in var.requesters : can(regex("^(user|group|domain|serviceAccount|principal|principalSet):.+$", member))])
    error_message = "Expected members like serviceAccount:lims@project.iam.gserviceaccount.com; never allUsers."
  }
}

variable "allowed_buckets" {
  description = "Further buckets that requests may name objects of; ingest and the tasks may then read them."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.allowed_buckets : can(regex("^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$", name))])
    error_message = "Expected names of buckets, without gs://."
  }
}

variable "settings" {
  description = "Further CELLDROP_ settings, by name, for every function and task."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.settings) : can(regex("^CELLDROP_[A-Z0-9_]+$", name))])
    error_message = "Expected names of docs/reference/settings.md: CELLDROP_ and capitals."
  }

  validation {
    condition     = length(setintersection(keys(var.settings), keys(local.own_environment))) == 0
    error_message = "Found ${join(", ", setintersection(keys(var.settings), keys(local.own_environment)))}, which this module sets itself."
  }
}

variable "inbox_days" {
  description = "Days after which a dropped file is deleted; 0: kept."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.inbox_days == 0 || var.inbox_days >= 2
    error_message = "Found ${var.inbox_days}; expected 0 or at least 2: a file is needed until its submission is over."
  }
}

variable "work_days" {
  description = "Days after which a leftover part is deleted."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.work_days >= 2
    error_message = "Found ${var.work_days}; expected at least 2: parts are needed until their submission is over."
  }
}

variable "results_days" {
  description = "Days after which a result is deleted; 0: kept."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.results_days >= 0
    error_message = "Found ${var.results_days}; expected 0 or more."
  }
}

variable "record_days" {
  description = "Days from a submission's last change to the removal of its record; 0: kept."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.record_days == 0 || var.record_days >= 30
    error_message = "Found ${var.record_days}; expected 0 or at least 30: once its record is gone, the same file is annotated afresh."
  }
}

variable "protect_data" {
  description = "Whether data outlives a terraform destroy: buckets that are not empty stay, and so does the database; false for trials."
  type        = bool
  default     = true
  nullable    = false
}

variable "firestore_location" {
  description = "Where the database lies, a region or a multi-region such as nam5; empty: the region."
  type        = string
  default     = ""
  nullable    = false
}

variable "enable_services" {
  description = "Whether the module enables the services (APIs) that it needs; they stay enabled when it is destroyed."
  type        = bool
  default     = true
  nullable    = false
}

variable "monitoring" {
  description = "Whether there are alerts and a dashboard."
  type        = bool
  default     = true
  nullable    = false
}

variable "alert_emails" {
  description = "E-mail addresses that alerts go to; without any, they show in the console alone."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "Expected e-mail addresses."
  }
}

variable "billing_account" {
  description = "The billing account to make a monthly budget in; empty: none is made."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.billing_account == "" || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "Found ${jsonencode(var.billing_account)}; expected XXXXXX-XXXXXX-XXXXXX."
  }
}

variable "monthly_budget" {
  description = "Whole units of the billing account's currency that the project may cost in a month before somebody is told."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.monthly_budget >= 1 && floor(var.monthly_budget) == var.monthly_budget
    error_message = "Found ${var.monthly_budget}; expected a whole number from 1."
  }
}

variable "labels" {
  description = "Labels of everything that takes labels, beside app and deployment."
  type        = map(string)
  default     = {}
  nullable    = false
}
