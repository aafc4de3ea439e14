// AKS, the identity that its pods may take, and where metrics and logs go.
param location string
param sizing object
param networkName string
param kubernetesNamespace string
param serviceAccount string
@description('Name of the identity of the pods, which is in this resource group.')
param podsIdentity string

var networkContributor = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '4d97b98b-1d4f-4787-a291-c67834d212e7')

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: 'dedup'
  location: location
  properties: { sku: { name: 'PerGB2018' }, retentionInDays: 30 }
}

resource metrics 'Microsoft.Monitor/accounts@2023-04-03' = {
  name: 'dedup'
  location: location
}

@description('Of the cluster: its load balancers join the subnet.')
resource control 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'dedup-cluster'
  location: location
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' existing = {
  name: networkName
}

resource nodesSubnet 'Microsoft.Network/virtualNetworks/subnets@2024-05-01' existing = {
  parent: network
  name: 'nodes'
}

resource clusterJoins 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(nodesSubnet.id, control.id, networkContributor)
  scope: nodesSubnet
  properties: { principalId: control.properties.principalId, principalType: 'ServicePrincipal', roleDefinitionId: networkContributor }
}

resource cluster 'Microsoft.ContainerService/managedClusters@2025-10-01' = {
  name: 'dedup'
  location: location
  sku: { name: 'Base', tier: sizing.clusterTier }
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${control.id}': {} } }
  properties: {
    dnsPrefix: 'dedup'
    agentPoolProfiles: [
      {
        name: 'nodes'
        mode: 'System'
        count: sizing.nodes
        vmSize: sizing.nodeSize
        availabilityZones: sizing.zones
        osType: 'Linux'
        vnetSubnetID: nodesSubnet.id
      }
    ]
    networkProfile: {
      networkPlugin: 'azure'
      networkPluginMode: 'overlay'
      networkDataplane: 'cilium'
      networkPolicy: 'cilium'
      loadBalancerSku: 'standard'
      podCidr: '10.244.0.0/16'
      serviceCidr: '10.245.0.0/16'
      dnsServiceIP: '10.245.0.10'
    }
    oidcIssuerProfile: { enabled: true }
    securityProfile: { workloadIdentity: { enabled: true } }
    addonProfiles: {
      azureKeyvaultSecretsProvider: { enabled: true, config: { enableSecretRotation: 'true' } }
    }
    azureMonitorProfile: { metrics: { enabled: true } }
    autoUpgradeProfile: { upgradeChannel: 'patch', nodeOSUpgradeChannel: 'NodeImage' }
  }
  dependsOn: [clusterJoins]
}

resource pods 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: podsIdentity
}

@description('Pods with this service account, in this namespace, are the identity: whatever the release is called.')
resource federation 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2024-11-30' = {
  parent: pods
  name: 'aks'
  properties: {
    issuer: cluster.properties.oidcIssuerProfile.issuerURL
    subject: 'system:serviceaccount:${kubernetesNamespace}:${serviceAccount}'
    audiences: ['api://AzureADTokenExchange']
  }
}

resource collection 'Microsoft.Insights/dataCollectionEndpoints@2023-03-11' = {
  name: 'dedup'
  location: location
  kind: 'Linux'
  properties: { networkAcls: { publicNetworkAccess: 'Enabled' } }
}

resource prometheus 'Microsoft.Insights/dataCollectionRules@2023-03-11' = {
  name: 'dedup'
  location: location
  kind: 'Linux'
  properties: {
    dataCollectionEndpointId: collection.id
    dataSources: {
      prometheusForwarder: [{ name: 'prometheus', streams: ['Microsoft-PrometheusMetrics'], labelIncludeFilter: {} }]
    }
    destinations: { monitoringAccounts: [{ name: 'metrics', accountResourceId: metrics.id }] }
    dataFlows: [{ streams: ['Microsoft-PrometheusMetrics'], destinations: ['metrics'] }]
  }
}

resource collected 'Microsoft.Insights/dataCollectionRuleAssociations@2023-03-11' = {
  name: 'dedup'
  scope: cluster
  properties: { dataCollectionRuleId: prometheus.id }
}

resource clusterLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'dedup'
  scope: cluster
  properties: {
    workspaceId: workspace.id
    logs: [{ category: 'kube-audit-admin', enabled: true }, { category: 'cluster-autoscaler', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output workspaceId string = workspace.id
