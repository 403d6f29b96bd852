variable "project" {
  description = "The project that everything is made in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "Found ${jsonencode(var.project)}; expected a project id: 6 to 30 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "region" {
  description = "The region of everything: buckets, functions and jobs are in the same region."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "Found ${jsonencode(var.region)}; expected a region like us-central1 or europe-west4, not a zone."
  }
}

variable "prefix" {
  description = "What every name begins with; a second deployment in the project needs another."
  type        = string
  default     = "celldrop"
  nullable    = false

  # Service account ids hold 30 characters, and the longest name here adds "-reconcile"; they want 6, and the shortest adds "-task".
  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$", var.prefix))
    error_message = "Found ${jsonencode(var.prefix)}; expected 1 to 20 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }

  # Bucket names may not have the word, nor may topics begin so.
  validation {
    condition     = !can(regex("^goog|google", var.prefix))
    error_message = "Found ${jsonencode(var.prefix)}; expected one without \"google\", which no bucket's name may have, and not beginning with \"goog\"."
  }
}

variable "flavor" {
  description = "How large it is: a file of deploy/flavors without its .json."
  type        = string
  default     = "default"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*$", var.flavor)) && fileexists("${path.module}/../flavors/${var.flavor}.json")
    error_message = "Found ${jsonencode(var.flavor)}; expected a flavor that deploy/flavors has: default, large, gpu, dev, or one of your own."
  }
}

variable "image_repository" {
  description = "The Artifact Registry repository of the images, HOST/PROJECT/REPOSITORY; empty: one is made, named by the prefix."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.image_repository == "" || can(regex("^[a-z0-9.-]+(/[a-z0-9._-]+)+$", var.image_repository))
    error_message = "Found ${jsonencode(var.image_repository)}; expected HOST/PROJECT/REPOSITORY, without a scheme, an image or a slash at the end."
  }
}

variable "image_tag" {
  description = "The tag of the images to run; not latest, which Terraform cannot see moving."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.image_tag)) && var.image_tag != "latest"
    error_message = "Found ${jsonencode(var.image_tag)}; expected a tag of one build, such as a commit's short hash."
  }
}

variable "service_account_email" {
  description = "One service account for everything, instead of one for each part; empty: one for each part is made."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.service_account_email == "" || can(regex("^[a-z0-9-]+@[a-z0-9.-]+\\.gserviceaccount\\.com$", var.service_account_email))
    error_message = "Found ${jsonencode(var.service_account_email)}; expected the e-mail address of a service account."
  }
}

variable "config_secret" {
  description = "An .env file of further settings in Secret Manager, NAME:VERSION, mounted into every function and task."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.config_secret == "" || can(regex("^[A-Za-z0-9_-]{1,255}:([1-9][0-9]*|latest)$", var.config_secret))
    error_message = "Found ${jsonencode(var.config_secret)}; expected NAME:VERSION, with a number or latest as the version."
  }
}

variable "vpc_connector" {
  description = "A Serverless VPC Access connector for functions and tasks, by name or in full; empty: none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.vpc_connector == "" || can(regex("^(projects/[^/]+/locations/[^/]+/connectors/)?[a-z][a-z0-9-]{0,23}[a-z0-9]$", var.vpc_connector))
    error_message = "Found ${jsonencode(var.vpc_connector)}; expected NAME or projects/PROJECT/locations/REGION/connectors/NAME."
  }
}

variable "sql_instance" {
  description = "A Cloud SQL instance to attach, PROJECT:REGION:NAME; celldrop itself needs none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.sql_instance == "" || can(regex("^[a-z0-9.:-]+:[a-z0-9-]+:[a-z0-9-]+$", var.sql_instance))
    error_message = "Found ${jsonencode(var.sql_instance)}; expected PROJECT:REGION:NAME."
  }
}
