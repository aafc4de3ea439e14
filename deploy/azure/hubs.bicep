// IoT Hub → telemetry → the service → clean, and dead-letter. Nobody needs a key: local authentication is off.
param location string
param unique string
param sizing object
param privateEndpoints bool
param podsPrincipalId string
param routerId string
param routerPrincipalId string
param readerId string
param workspaceId string

var consumerGroupName = 'dedup'
var sender = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '2b629674-e913-4c01-ae53-ef4638d8f975')
var receiver = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'a638d3c7-ab3a-418d-83e6-5f17a39d4fde')

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' = {
  name: unique
  location: location
  sku: { name: 'Standard', tier: 'Standard', capacity: sizing.throughputUnits }
  properties: {
    disableLocalAuth: true
    isAutoInflateEnabled: true
    maximumThroughputUnits: sizing.maximumThroughputUnits
    minimumTlsVersion: '1.2'
    publicNetworkAccess: privateEndpoints ? 'Disabled' : 'Enabled'
  }
}

// Not seen: whether the endpoint's user-assigned identity suffices on that path. IoT Hub has a system-assigned one besides, since
// Microsoft documents that Event Hubs knows it as a trusted service by that.
@description('IoT Hub routes into a closed namespace as a trusted service.')
resource rules 'Microsoft.EventHub/namespaces/networkRuleSets@2024-01-01' = if (privateEndpoints) {
  parent: namespace
  name: 'default'
  properties: { defaultAction: 'Deny', publicNetworkAccess: 'Disabled', trustedServiceAccessEnabled: true }
}

resource telemetry 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = {
  parent: namespace
  name: 'telemetry'
  properties: {
    partitionCount: sizing.partitions
    retentionDescription: { cleanupPolicy: 'Delete', retentionTimeInHours: sizing.inputRetentionHours }
  }
}

resource clean 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = {
  parent: namespace
  name: 'clean'
  properties: {
    partitionCount: sizing.cleanPartitions
    retentionDescription: { cleanupPolicy: 'Delete', retentionTimeInHours: sizing.cleanRetentionHours }
  }
}

resource deadLetter 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = {
  parent: namespace
  name: 'dead-letter'
  properties: {
    partitionCount: 1
    retentionDescription: { cleanupPolicy: 'Delete', retentionTimeInHours: 168 }
  }
}

resource inputGroup 'Microsoft.EventHub/namespaces/eventhubs/consumergroups@2024-01-01' = {
  parent: telemetry
  name: consumerGroupName
}

@description('For `dedup-service capture`, which may not read where the service reads.')
resource captureGroup 'Microsoft.EventHub/namespaces/eventhubs/consumergroups@2024-01-01' = {
  parent: telemetry
  name: 'capture'
}

resource outputGroup 'Microsoft.EventHub/namespaces/eventhubs/consumergroups@2024-01-01' = {
  parent: clean
  name: consumerGroupName
}

@description('For a person who looks at the clean stream.')
resource lookGroup 'Microsoft.EventHub/namespaces/eventhubs/consumergroups@2024-01-01' = {
  parent: clean
  name: 'look'
}

resource routerSends 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(telemetry.id, routerPrincipalId, sender)
  scope: telemetry
  properties: { principalId: routerPrincipalId, principalType: 'ServicePrincipal', roleDefinitionId: sender }
}

resource podsRead 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(telemetry.id, podsPrincipalId, receiver)
  scope: telemetry
  properties: { principalId: podsPrincipalId, principalType: 'ServicePrincipal', roleDefinitionId: receiver }
}

resource podsPublish 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(clean.id, podsPrincipalId, sender)
  scope: clean
  properties: { principalId: podsPrincipalId, principalType: 'ServicePrincipal', roleDefinitionId: sender }
}

@description('To look up what was published before a crash, and to read the window back when Redis forgets.')
resource podsLookUp 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(clean.id, podsPrincipalId, receiver)
  scope: clean
  properties: { principalId: podsPrincipalId, principalType: 'ServicePrincipal', roleDefinitionId: receiver }
}

resource podsDeadLetter 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(deadLetter.id, podsPrincipalId, sender)
  scope: deadLetter
  properties: { principalId: podsPrincipalId, principalType: 'ServicePrincipal', roleDefinitionId: sender }
}

resource readerReadsClean 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(readerId)) {
  name: guid(clean.id, readerId, receiver)
  scope: clean
  properties: { principalId: readerId, roleDefinitionId: receiver }
}

resource readerReadsDeadLetters 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(readerId)) {
  name: guid(deadLetter.id, readerId, receiver)
  scope: deadLetter
  properties: { principalId: readerId, roleDefinitionId: receiver }
}

@description('Gateways connect from outside: it stays open. Every message goes to telemetry, none to the built-in endpoint.')
resource iotHub 'Microsoft.Devices/IotHubs@2023-06-30' = {
  name: unique
  location: location
  sku: { name: sizing.iotHubSku, capacity: sizing.iotHubUnits }
  identity: { type: 'SystemAssigned, UserAssigned', userAssignedIdentities: { '${routerId}': {} } }
  properties: {
    publicNetworkAccess: 'Enabled'
    eventHubEndpoints: { events: { partitionCount: 2, retentionTimeInDays: 1 } }
    routing: {
      endpoints: {
        eventHubs: [
          {
            name: telemetry.name
            authenticationType: 'identityBased'
            identity: { userAssignedIdentity: routerId }
            endpointUri: 'sb://${namespace.name}.servicebus.windows.net'
            entityPath: telemetry.name
            resourceGroup: resourceGroup().name
            subscriptionId: subscription().subscriptionId
          }
        ]
      }
      routes: [
        {
          name: 'readings'
          source: 'DeviceMessages'
          condition: 'true'
          endpointNames: [telemetry.name]
          isEnabled: true
        }
      ]
      fallbackRoute: {
        name: '$fallback'
        source: 'DeviceMessages'
        condition: 'true'
        endpointNames: ['events']
        isEnabled: false
      }
    }
  }
  dependsOn: [routerSends, rules]
}

resource iotHubLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'dedup'
  scope: iotHub
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'Connections', enabled: true }, { category: 'Routes', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

resource namespaceLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'dedup'
  scope: namespace
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'OperationalLogs', enabled: true }, { category: 'AutoScaleLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output namespaceId string = namespace.id
output consumerGroup string = consumerGroupName
output inputConnectionString string = 'Endpoint=sb://${namespace.name}.servicebus.windows.net/;EntityPath=${telemetry.name}'
output cleanConnectionString string = 'Endpoint=sb://${namespace.name}.servicebus.windows.net/;EntityPath=${clean.name}'
output deadLetterConnectionString string = 'Endpoint=sb://${namespace.name}.servicebus.windows.net/;EntityPath=${deadLetter.name}'
