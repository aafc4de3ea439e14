# One sender, which Nomad starts on another client when its own is lost. The readings in between are lost. To lose none, run
# a second sender with its own device identity on another client.
job "edge-sender" {
  datacenters = ["*"]
  type        = "service"

  group "edge-sender" {
    count = 1

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
    }

    # A volume that every client can mount.
    volume "spool" {
      type            = "csi"
      source          = "edge-sender-spool"
      access_mode     = "single-node-writer"
      attachment_mode = "file-system"
    }

    service {
      name     = "edge-sender"
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
        ports           = ["http"]
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
          EDGE_CONNECTION_STRING={{ with nomadVar "nomad/jobs/edge-sender" }}{{ .connection_string }}{{ end }}
        SECRETS
      }

      # Where only port 443 is open: EDGE_TRANSPORT = "websocket"; through a proxy, EDGE_HTTP_PROXY in the secrets above. See
      # docs/edge.md, Uplinks.
      env {
        EDGE_SOURCES_FILE = "/etc/edge/sources.yaml"
        EDGE_UPLINK       = "iot"
        EDGE_REPLICA      = "edge-sender"
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
