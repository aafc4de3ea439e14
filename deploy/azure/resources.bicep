// What is in the resource group: the identities, then the parts, then the values that the chart takes.
param location string
@description('Begins the names that must be unique in Azure: 18 lower-case letters and digits, which every kind accepts.')
param unique string
param sizing object
param privateEndpoints bool
@secure()
param apiToken string
param readerId string
param kubernetesNamespace string

var serviceAccount = 'dedup-service'

@description('Of the pods.')
resource pods 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'dedup'
  location: location
}

@description('Of the IoT Hub: an identity that exists before it, so that its endpoint has the right to send from the start.')
resource router 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'dedup-router'
  location: location
}

module network 'network.bicep' = {
  name: 'network'
  params: {
    location: location
  }
}

module cluster 'cluster.bicep' = {
  name: 'cluster'
  params: {
    location: location
    sizing: sizing
    networkName: network.outputs.networkName
    kubernetesNamespace: kubernetesNamespace
    serviceAccount: serviceAccount
    podsIdentity: pods.name
  }
}

module hubs 'hubs.bicep' = {
  name: 'hubs'
  params: {
    location: location
    unique: unique
    sizing: sizing
    privateEndpoints: privateEndpoints
    podsPrincipalId: pods.properties.principalId
    routerId: router.id
    routerPrincipalId: router.properties.principalId
    readerId: readerId
    workspaceId: cluster.outputs.workspaceId
  }
}

module state 'state.bicep' = {
  name: 'state'
  params: {
    location: location
    unique: unique
    sizing: sizing
    privateEndpoints: privateEndpoints
    podsPrincipalId: pods.properties.principalId
    apiToken: apiToken
    workspaceId: cluster.outputs.workspaceId
  }
}

module endpoints 'endpoints.bicep' = if (privateEndpoints) {
  name: 'endpoints'
  params: {
    location: location
    networkId: network.outputs.networkId
    subnetId: network.outputs.endpointsSubnetId
    eventHubsId: hubs.outputs.namespaceId
    storageId: state.outputs.storageId
    redisId: state.outputs.redisId
    vaultId: state.outputs.vaultId
  }
}

var settings = {
  namespace: 'plant'
  input_connection_string: hubs.outputs.inputConnectionString
  input_consumer_group: hubs.outputs.consumerGroup
  input_retention_seconds: sizing.inputRetentionHours * 3600
  output_connection_string: hubs.outputs.cleanConnectionString
  output_consumer_group: hubs.outputs.consumerGroup
  dead_letter_connection_string: hubs.outputs.deadLetterConnectionString
  redis_url: state.outputs.redisUrl
  redis_auth: 'entra'
  redis_cluster: true
  checkpoint_url: state.outputs.checkpointUrl
  window_seconds: sizing.windowSeconds
}

output helmValues object = {
  replicaCount: sizing.pods
  partitions: sizing.partitions
  settings: settings
  secretsStore: {
    enabled: true
    keyVaultName: state.outputs.vaultName
    tenantId: tenant().tenantId
    objects: { api_token: state.outputs.apiTokenName }
  }
  serviceAccount: { name: serviceAccount }
  workloadIdentity: {
    enabled: true
    clientId: pods.properties.clientId
  }
  monitoring: {
    podMonitor: {
      enabled: true
      apiVersion: 'azmonitoring.coreos.com/v1'
    }
  }
}
