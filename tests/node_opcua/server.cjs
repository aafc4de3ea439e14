// An OPC UA server with its standard demo address space; prints a line when it is ready. Arguments: the port, and `events`
// for a server that has only a press, which raises events.
const { OPCUAServer } = require("node-opcua-server");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { build_address_space_for_conformance_testing } = require("node-opcua-address-space-for-conformance-testing");
const { nodesets } = require("node-opcua-nodesets");

// Every 100 ms a failure of the device, numbered, of severity 100 and 900 by turns. It is raised by the press, and so by Server.
function add_press(addressSpace) {
    const { objects } = addressSpace.rootFolder;
    const press = addressSpace.getOwnNamespace().addObject({
        browseName: "press",
        nodeId: "s=press",
        organizedBy: objects,
        notifierOf: objects.server,
        eventNotifier: 1,
    });
    let number = 0;
    setInterval(() => {
        number += 1;
        press.raiseEvent("DeviceFailureEventType", {
            message: { dataType: "LocalizedText", value: { text: `failure ${number}` } },
            severity: { dataType: "UInt16", value: number % 2 ? 100 : 900 },
        });
    }, 100);
}

async function main(port, what) {
    const server = new OPCUAServer({
        hostname: "127.0.0.1",
        port,
        nodeset_filename: [nodesets.standard],
        securityModes: [MessageSecurityMode.None],
        securityPolicies: [SecurityPolicy.None],
        serverInfo: { applicationUri: "urn:test:node-opcua" },
    });
    await server.initialize();
    if (what === "events") {
        add_press(server.engine.addressSpace);
    } else {
        build_address_space_for_conformance_testing(server.engine.addressSpace, { mass_variables: true });
    }
    await server.start();
    console.log(JSON.stringify({ ready: true }));
}

main(Number(process.argv[2]), process.argv[3]);
