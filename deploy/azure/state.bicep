// What the pods keep outside themselves: claims in Redis, checkpoints in blobs, the API's token in a vault.
param location string
param unique string
param sizing object
param privateEndpoints bool
param podsPrincipalId string
@secure()
param apiToken string
param workspaceId string

var blobContributor = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'ba92f5b4-2d11-453d-a403-e96b0029c9fe')
var secretsUser = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '4633458b-17de-408a-b874-0445c86b69e6')
var publicNetworkAccess = privateEndpoints ? 'Disabled' : 'Enabled'
var defaultAction = privateEndpoints ? 'Deny' : 'Allow'
var tokenName = 'dedup-api-token'

resource redis 'Microsoft.Cache/redisEnterprise@2025-07-01' = {
  name: unique
  location: location
  sku: { name: sizing.redisSku }
  properties: {
    highAvailability: sizing.redisHighAvailability
    minimumTlsVersion: '1.2'
    publicNetworkAccess: publicNetworkAccess
  }
}

@description('NoEviction, since an evicted claim lets a duplicate through. No keys: Entra ID only.')
resource database 'Microsoft.Cache/redisEnterprise/databases@2025-07-01' = {
  parent: redis
  name: 'default'
  properties: {
    accessKeysAuthentication: 'Disabled'
    clientProtocol: 'Encrypted'
    clusteringPolicy: 'OSSCluster'
    evictionPolicy: 'NoEviction'
    port: 10000
  }
}

resource podsClaim 'Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments@2025-07-01' = {
  parent: database
  name: 'dedup'
  properties: { accessPolicyName: 'default', user: { objectId: podsPrincipalId } }
}

resource storage 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: unique
  location: location
  kind: 'StorageV2'
  sku: { name: sizing.storageSku }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: publicNetworkAccess
    networkAcls: { defaultAction: defaultAction, bypass: 'AzureServices' }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: storage
  name: 'default'
}

resource checkpoints 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = {
  parent: blobs
  name: 'dedup-checkpoints'
}

resource podsCheckpoint 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(checkpoints.id, podsPrincipalId, blobContributor)
  scope: checkpoints
  properties: { principalId: podsPrincipalId, principalType: 'ServicePrincipal', roleDefinitionId: blobContributor }
}

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: unique
  location: location
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    softDeleteRetentionInDays: 7
    publicNetworkAccess: publicNetworkAccess
    networkAcls: { defaultAction: defaultAction, bypass: 'AzureServices' }
  }
}

resource token 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = {
  parent: vault
  name: tokenName
  properties: { value: apiToken }
}

resource podsReadSecrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, podsPrincipalId, secretsUser)
  scope: vault
  properties: { principalId: podsPrincipalId, principalType: 'ServicePrincipal', roleDefinitionId: secretsUser }
}

resource redisLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'dedup'
  scope: redis
  properties: {
    workspaceId: workspaceId
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

resource blobLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'dedup'
  scope: blobs
  properties: {
    workspaceId: workspaceId
    metrics: [{ category: 'Transaction', enabled: true }]
  }
}

resource vaultLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'dedup'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'AuditEvent', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output redisId string = redis.id
output redisUrl string = 'rediss://${redis.properties.hostName}:${database.properties.port}'
output storageId string = storage.id
output checkpointUrl string = '${storage.properties.primaryEndpoints.blob}${checkpoints.name}'
output vaultId string = vault.id
output vaultName string = vault.name
output apiTokenName string = tokenName
