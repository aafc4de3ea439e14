# Two senders on two clients that take turns: one sends, the other hears its heartbeats and takes over within a second. Nothing is
# lost, since whoever takes over also sends what it has read in the last 30 s. The variables need a connection string of an
# Event Hub, the URL of a blob container with its signature, and a key of at least 16 characters.
variable "peers" {
  type        = string
  default     = "client-1.plant:9465,client-2.plant:9465"
  description = "The clients' addresses on the plant's network. Each hears its own heartbeats as well, and takes no notice of them."
}

job "edge-sender-peers" {
  datacenters = ["*"]
  type        = "service"

  group "edge-sender" {
    count = 2

    constraint {
      operator = "distinct_hosts"
      value    = "true"
    }

    restart {
      attempts = 10
      interval = "10m"
      delay    = "2s"
      mode     = "delay"
    }

    reschedule {
      delay          = "5s"
      delay_function = "constant"
      unlimited      = true
    }

    network {
      port "http" {
        to = 9464
      }

      # UDP. Nomad opens it on the client's default network: let its firewall accept it from the other clients alone.
      port "heartbeat" {
        static = 9465
        to     = 9465
      }
    }

    # One for each sender: edge-sender-spool[0], edge-sender-spool[1].
    volume "spool" {
      type            = "csi"
      source          = "edge-sender-spool"
      per_alloc       = true
      access_mode     = "single-node-writer"
      attachment_mode = "file-system"
    }

    service {
      name     = "edge-sender-peers"
      port     = "http"
      provider = "nomad"

      check {
        type     = "http"
        path     = "/readyz"
        interval = "10s"
        timeout  = "5s"
      }

      # One that does not even answer is started again; a minute is more than a start takes on a slow gateway.
      check {
        type     = "http"
        path     = "/healthz"
        interval = "10s"
        timeout  = "5s"

        check_restart {
          limit = 3
          grace = "60s"
        }
      }
    }

    # A new volume belongs to root.
    task "own-the-spool" {
      driver = "docker"
      user   = "root"

      lifecycle {
        hook = "prestart"
      }

      config {
        image   = "busybox:1.37.0"
        command = "chown"
        args    = ["10001:10001", "/var/lib/edge-sender"]
      }

      volume_mount {
        volume      = "spool"
        destination = "/var/lib/edge-sender"
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }

    task "edge-sender" {
      driver = "docker"

      config {
        image           = "ghcr.io/redundant-edge-dedup/edge-sender:0.1.0"
        ports           = ["http", "heartbeat"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        volumes         = ["local/sources.yaml:/etc/edge/sources.yaml:ro"]
      }

      volume_mount {
        volume      = "spool"
        destination = "/var/lib/edge-sender"
      }

      template {
        destination = "local/sources.yaml"
        data        = <<-SOURCES
          sources:
            - name: machines
              kind: opcua
              endpoint: opc.tcp://plc-1:4840
              namespace_uri: urn:factory:machines
              identity: source-time
        SOURCES
      }

      template {
        destination = "secrets/edge.env"
        env         = true
        data        = <<-SECRETS
          {{ with nomadVar "nomad/jobs/edge-sender-peers" }}
          EDGE_CONNECTION_STRING={{ .connection_string }}
          EDGE_WITNESS={{ .witness }}
          EDGE_PEERS_KEY={{ .peers_key }}
          {{ end }}
        SECRETS
      }

      env {
        EDGE_SOURCES_FILE = "/etc/edge/sources.yaml"
        EDGE_UPLINK       = "event-hubs"
        EDGE_REPLICA      = "edge-sender-${NOMAD_ALLOC_INDEX}"
        EDGE_HA           = "active-passive"
        EDGE_WITNESS_BLOB = "line-1"
        EDGE_PEERS        = "${var.peers}"
      }

      # `make bench` measures 86 MB and 19 % of a core for OPC UA at 1,000 readings/s, 94 MB with turns (docs/performance.md).
      # With a spool of 300,000 readings, half of which had to go, and its uplink down the sender stays below 192 MiB
      # (tests/integration/edge/test_memory.py). `cpu` is in MHz: 21 % of a core of 1.4 GHz.
      resources {
        cpu    = 300
        memory = 256
      }

      logs {
        max_files     = 3
        max_file_size = 10
      }

      kill_timeout = "30s"
    }
  }
}
